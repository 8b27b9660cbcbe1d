"""Whatever happens to a server, who follows it gets every page."""

import json
from collections.abc import Callable, Iterator
from itertools import islice

import pytest

from tests.tools.client.pages import RESET
from tests.tools.feed_server import Feed, served
from tools.client.backoff import Backoff
from tools.client.connection import FeedClient
from tools.client.errors import ProtocolError, RefusedError, UnavailableError
from tools.client.following import Following, Pace
from tools.client.mirror import Mirror
from tools.client.wire import START, Page, Position

POLL = Pace(wait_seconds=25, interval_seconds=1, stream=False)


@pytest.fixture
def feed() -> Feed:
    feed = Feed()
    feed.put("one", "/m/one")
    return feed


@pytest.fixture
def client(feed: Feed) -> Iterator[FeedClient]:
    with served(feed) as url:
        client = FeedClient(url)
        yield client
        client.close()


class Quiet:
    """A following whose pauses take no time."""

    def __init__(self, client: FeedClient, pace: Pace = POLL, *steps: Callable[[], object]) -> None:
        self.pauses: list[float] = []
        self.troubles: list[str] = []
        self._steps = list(steps)
        self.now = 0.0
        self.following = Following(
            client,
            pace,
            on_trouble=lambda error: self.troubles.append(str(error)),
            pause=self._pause,
            backoff=Backoff(chance=lambda: 1.0),
            seconds=lambda: self.now,
        )

    def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if self._steps:
            self._steps.pop(0)()

    def take(self, count: int, start: Position = START) -> list[Page]:
        return list(islice(self.following.pages(start), count))


def line(event: str, **more: object) -> bytes:
    return json.dumps({"event": event, "log_id": ""} | more).encode() + b"\n"


def change(node_id: str) -> dict[str, object]:
    node = {"id": node_id, "parent_id": "root", "name": node_id, "is_directory": False}
    return {"removed": False, "node": node}


def test_all_is_read_then_the_server_is_asked_to_wait(feed: Feed, client: FeedClient) -> None:
    feed.page_max = 2
    for number in range(4):
        feed.put(f"n{number}", f"/m/{number}")
    pages = Quiet(client).take(5)
    assert [(page.cursor, page.has_more) for page in pages] == [
        (2, True), (4, True), (5, False), (5, False), (5, False),
    ]  # fmt: skip
    assert ["wait=25" in request for request in feed.requests] == [False] * 3 + [True] * 2


def test_a_server_that_cannot_wait_is_asked_at_intervals(client: FeedClient) -> None:
    quiet = Quiet(client)
    quiet.take(4)
    assert quiet.pauses == [1.0, 1.0]


def test_the_size_of_pages_and_the_log_are_said(feed: Feed, client: FeedClient) -> None:
    feed.log_id = "abc"
    Quiet(client, POLL._replace(max_size=7)).take(2)
    assert feed.requests[0] == "/api/v1/changes?cursor=0&max_size=7"
    assert feed.requests[1] == "/api/v1/changes?cursor=1&log_id=abc&max_size=7&wait=25"


def test_a_position_that_is_refused_leads_back_to_the_beginning(
    feed: Feed, client: FeedClient
) -> None:
    pages = Quiet(client).take(2, Position(99, "old"))
    assert pages[0] == RESET
    assert pages[1].cursor == 1
    assert feed.requests[1] == "/api/v1/changes?cursor=0"


@pytest.mark.parametrize("body", [b"<html>gone</html>", b"{}", b""])
def test_410_means_a_reset_whatever_its_body(feed: Feed, client: FeedClient, body: bytes) -> None:
    feed.refusals = [(410, {}, body)]
    assert Quiet(client).take(1, Position(1))[0] == RESET


def test_another_log_leads_back_to_the_beginning(feed: Feed, client: FeedClient) -> None:
    feed.log_id = "new"
    pages = Quiet(client).take(2, Position(1, "old"))
    assert pages[0] == RESET
    assert pages[1].position == Position(1, "new")


def test_a_refusal_of_everything_ends_it(feed: Feed, client: FeedClient) -> None:
    feed.refusals = [(410, {}, b"")] * 2
    with pytest.raises(ProtocolError, match=f"{client.url}: it refuses even cursor 0"):
        Quiet(client).take(9, Position(5))


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 429])
def test_what_passes_is_waited_for_and_told_once(
    feed: Feed, client: FeedClient, status: int
) -> None:
    feed.refusals = [(status, {}, b"")] * 3
    quiet = Quiet(client)
    assert quiet.take(1)[0].cursor == 1
    assert quiet.pauses == [0.5, 1.0, 2.0]
    assert len(quiet.troubles) == 1
    assert str(status) in quiet.troubles[0]


def test_the_server_says_when_to_come_back_within_bounds(feed: Feed, client: FeedClient) -> None:
    feed.refusals = [(503, {"Retry-After": "7"}, b""), (503, {"Retry-After": "86400"}, b"")]
    quiet = Quiet(client)
    quiet.take(1)
    assert quiet.pauses == [7.0, 30.0]


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 421])
def test_what_does_not_pass_ends_it(feed: Feed, client: FeedClient, status: int) -> None:
    feed.refusals = [(status, {}, b'{"detail": "no\\nway"}')]
    with pytest.raises(RefusedError, match="no\ufffdway") as caught:
        Quiet(client).take(1)
    assert caught.value.status == status


def test_after_a_success_the_waits_begin_anew(feed: Feed, client: FeedClient) -> None:
    def again() -> None:
        feed.refusals = [(503, {}, b"")] * 2  # to wait, and to answer at once

    feed.refusals = [(503, {}, b"")]
    quiet = Quiet(client, POLL, lambda: None, again)
    quiet.take(4)
    assert quiet.pauses == [0.5, 1.0, 0.5, 0.5]  # the last asked half a second before
    assert len(quiet.troubles) == 2


def test_whoever_is_told_of_trouble_may_end_it(feed: Feed, client: FeedClient) -> None:
    feed.refusals = [(503, {}, b"")]

    def enough(error: UnavailableError) -> None:
        raise error

    following = Following(client, POLL, on_trouble=enough)
    with pytest.raises(UnavailableError):
        next(following.pages(START))


def test_a_stream_is_taken_up_where_polling_ended(feed: Feed, client: FeedClient) -> None:
    feed.streams = [
        [
            line("changes", cursor=2, changes=[change("x")], has_more=False),
            line("caught_up", cursor=2),
            line("heartbeat", cursor=9),
        ]
    ]
    pages = Quiet(client, Pace()).take(4)
    assert [(page.cursor, len(page.changes)) for page in pages] == [(1, 1), (2, 1), (2, 0), (9, 0)]
    assert feed.requests[1] == "/api/v1/changes/stream?cursor=1"


def test_a_stream_that_ends_is_followed_by_a_poll_and_another_stream(
    feed: Feed, client: FeedClient
) -> None:
    feed.put("two", "/m/two")
    feed.streams = [
        [line("heartbeat", cursor=2), b'{"event":"changes","cursor":3,"cha'],
        [line("heartbeat", cursor=2)],
    ]
    quiet = Quiet(client, Pace())
    pages = quiet.take(5)
    assert {page.cursor for page in pages} == {2}
    asked = [request.partition("?")[0].rpartition("/")[2] for request in feed.requests]
    assert asked == ["changes", "stream", "changes", "changes", "stream"]
    assert quiet.troubles == []


def test_a_reset_within_a_stream_begins_anew_in_it(feed: Feed, client: FeedClient) -> None:
    feed.streams = [
        [
            line("reset", cursor=0, changes=[], has_more=True, reset=True, error="cursor_expired"),
            line("changes", cursor=7, changes=[change("x")], has_more=False),
        ]
    ]
    mirror = Mirror()
    for page in Quiet(client, Pace()).take(3):
        mirror.apply(page)
    assert set(mirror.nodes) == {"x"}
    assert mirror.position.cursor == 7


def test_without_streams_there_is_one_try_and_then_polling(feed: Feed, client: FeedClient) -> None:
    quiet = Quiet(client, Pace())
    quiet.take(5)
    assert [request for request in feed.requests if "stream" in request] == [
        "/api/v1/changes/stream?cursor=1"
    ]


def test_while_there_are_too_many_streams_polling_goes_on(feed: Feed, client: FeedClient) -> None:
    def too_many() -> None:
        feed.refusals = [(503, {}, b"")]

    quiet = Quiet(client, Pace())
    pages = quiet.following.pages(START)
    next(pages)
    too_many()
    assert next(pages).cursor == 1
    assert quiet.troubles == []
    feed.streams = [[line("heartbeat", cursor=8)]]
    assert 8 in [page.cursor for page in islice(pages, 4)]


def test_while_too_many_wait_it_is_asked_at_intervals(feed: Feed, client: FeedClient) -> None:
    quiet = Quiet(client)
    pages = quiet.following.pages(START)
    next(pages)
    feed.refusals = [(503, {"Retry-After": "30"}, b"")]
    feed.put("two", "/m/two")
    assert next(pages).cursor == 2
    assert (quiet.troubles, quiet.pauses) == ([], [])
    for _ in range(31):
        next(pages)
    waits = ["wait=" in request for request in feed.requests]
    assert waits == [False, True, False, *[False] * 30, True]


def test_a_page_in_place_of_a_stream_is_no_stream(feed: Feed, client: FeedClient) -> None:
    quiet = Quiet(client, Pace())
    pages = quiet.following.pages(START)
    next(pages)
    feed.refusals = [(200, {"Content-Type": "text/html"}, b"<html>")]
    assert next(pages).cursor == 1
    next(pages)
    assert len([request for request in feed.requests if "stream" in request]) == 1
