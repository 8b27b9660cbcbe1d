import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.feed_server import Feed, served
from tools import cli
from tools.client.backoff import MAX_SECONDS, Backoff
from tools.client.connection import FeedClient
from tools.client.errors import RefusedError
from tools.errors import OperatorError
from tools.follow import Around, Follower, Options

DIRECTORY = "aaaaaaaa-0000-8000-8000-000000000001"
FILE = "aaaaaaaa-0000-8000-8000-000000000002"
OTHER = "aaaaaaaa-0000-8000-8000-000000000004"


class Clock:
    def now_us(self) -> int:
        return 0

    def monotonic(self) -> float:
        return 0.0


class Enough(Exception):  # noqa: N818 - no error: ends a follow that would go on
    pass


class Pauses:
    """Notes how long each pause was, and does something in each."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.seconds: list[float] = []
        self.steps = list(steps)

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        if not self.steps:
            raise Enough
        self.steps.pop(0)()


@pytest.fixture
def feed() -> Feed:
    feed = Feed()
    feed.put(DIRECTORY, "/mnt/media")
    feed.put(FILE, "/mnt/media/a.txt", DIRECTORY, 1536)
    return feed


@pytest.fixture
def url(feed: Feed) -> Iterator[str]:
    with served(feed) as url:
        yield url


def follower(client: FeedClient, options: Options, out: io.StringIO, pauses: Pauses) -> Follower:
    return Follower(client, options, Around(out, Clock(), pauses, Backoff(chance=lambda: 1.0)))


def follow(url: str, options: Options, *steps: Callable[[], object]) -> list[str]:
    out, client = io.StringIO(), FeedClient(url)
    pauses = Pauses(*steps)
    try:
        follower(client, options, out, pauses).follow()
    except Enough:
        pass
    finally:
        client.close()
    return [line.partition("  ")[2] for line in out.getvalue().splitlines()]


def test_once_from_zero_prints_all_there_is_and_ends(url: str) -> None:
    lines = follow(url, Options(start=0, once=True))
    assert lines == ["+ /mnt/media/", "+ /mnt/media/a.txt  1.5 KiB"]


def test_from_now_prints_only_what_comes(feed: Feed, url: str) -> None:
    lines = follow(
        url,
        Options(),
        lambda: feed.put(FILE, "/mnt/media/a.txt", DIRECTORY, 7),
        lambda: feed.put(OTHER, "/mnt/media/b.txt", DIRECTORY, 0),
        lambda: feed.put(FILE, "/mnt/media/c.txt", DIRECTORY, 7),
        lambda: feed.remove(FILE, parent_id=DIRECTORY, name="c.txt"),
    )
    assert lines == [
        "~ /mnt/media/a.txt  7 B",
        "+ /mnt/media/b.txt  0 B",
        "→ /mnt/media/a.txt → /mnt/media/c.txt  7 B",
        "- /mnt/media/c.txt",
    ]


def test_a_tombstone_of_the_seed_has_the_path_last_seen(feed: Feed, url: str) -> None:
    lines = follow(url, Options(start=0), lambda: feed.remove(FILE))
    assert lines[-1] == "- /mnt/media/a.txt"


def test_a_tombstone_of_an_unknown_node_says_what_it_can(feed: Feed, url: str) -> None:
    lines = follow(
        url,
        Options(),
        lambda: feed.remove(FILE, parent_id=OTHER, name="a.txt"),
        lambda: feed.remove(DIRECTORY),
    )
    assert lines == ["- …/a.txt", f"- {DIRECTORY}"]


def test_pages_are_read_to_their_end(feed: Feed, url: str) -> None:
    feed.page_max = 10
    for number in range(100):
        feed.put(f"id-{number}", f"/mnt/media/{number}", DIRECTORY, number)
    lines = follow(url, Options(start=0, once=True))
    assert len(lines) == 102
    assert lines[-1] == "+ /mnt/media/99  99 B"


def test_directories_are_asked_for_once_a_page(feed: Feed, url: str) -> None:
    for number in range(100):
        feed.put(f"id-{number}", f"/mnt/media/{number}", DIRECTORY, number)
    follow(url, Options(start=2, once=True))
    assert feed.requests == ["/api/v1/changes?cursor=2", f"/api/v1/nodes/{DIRECTORY}/path"]


def test_json_lines_hold_the_change_as_sent(url: str) -> None:
    out, client = io.StringIO(), FeedClient(url)
    follower(client, Options(0, once=True, as_json=True), out, Pauses()).follow()
    client.close()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["change"], line["path"]) for line in lines] == [
        ("created", "/mnt/media"),
        ("created", "/mnt/media/a.txt"),
    ]
    assert lines[1]["node"]["size"] == 1536


def test_names_cannot_steer_the_terminal(feed: Feed, url: str) -> None:
    feed.put(OTHER, "/mnt/media/\x1b[2J\nfake", DIRECTORY, 1)
    lines = follow(url, Options(start=2, once=True))
    assert lines == [r"+ /mnt/media/\x1b[2J\nfake  1 B"]


def test_a_refused_cursor_starts_anew(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = follow(url, Options(start=1_000_000, once=True))
    assert lines == ["+ /mnt/media/", "+ /mnt/media/a.txt  1.5 KiB"]
    assert capsys.readouterr().err == (
        f"nasfeed: {url}: this position is not known there; reading everything anew\n"
    )


def test_a_server_that_refuses_everything_is_no_feed(feed: Feed, url: str) -> None:
    gone = json.dumps({"cursor": 0, "changes": [], "has_more": True, "reset": True}).encode()
    feed.refusals = [(410, {}, gone)] * 2
    with pytest.raises(OperatorError, match="refuses even cursor 0"):
        follow(url, Options(start=5))


def test_a_restart_is_survived_with_one_line(
    feed: Feed, capsys: pytest.CaptureFixture[str]
) -> None:
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        url = first.enter_context(served(feed))
        port = int(url.rpartition(":")[2])

        def change_while_down() -> None:
            feed.put(OTHER, "/mnt/media/b.txt", DIRECTORY, 1)

        def restart() -> None:
            second.enter_context(served(feed, port))

        lines = follow(url, Options(), first.close, change_while_down, restart)
    assert lines == ["+ /mnt/media/b.txt  1 B"]
    assert capsys.readouterr().err == (
        f"nasfeed: {url}: connection refused; trying until it answers\n"
    )


def test_the_waits_grow_and_are_bounded(feed: Feed) -> None:
    with served(feed) as url:
        pass
    client, pauses = FeedClient(url), Pauses(*[lambda: None] * 9)
    with pytest.raises(Enough):
        follower(client, Options(0), io.StringIO(), pauses).follow()
    assert pauses.seconds[:4] == [0.5, 1.0, 2.0, 4.0]
    assert pauses.seconds[-1] == MAX_SECONDS


def test_a_server_that_is_not_ready_is_asked_when_it_said(feed: Feed, url: str) -> None:
    body = json.dumps({"error": "not_ready", "detail": "scanning"}).encode()
    feed.refusals = [(503, {"Retry-After": "7"}, body), (503, {}, body)]
    client, pauses = FeedClient(url), Pauses(*[lambda: None] * 2)
    with pytest.raises(Enough):
        follower(client, Options(0), io.StringIO(), pauses).follow()
    client.close()
    assert pauses.seconds == [7.0, 1.0, 1.0]


def test_an_idle_connection_that_the_server_closed_is_made_again(feed: Feed, url: str) -> None:
    def close_idle() -> None:
        feed.drops = 1
        feed.put(OTHER, "/mnt/media/b", DIRECTORY, 1)

    assert follow(url, Options(), close_idle) == ["+ /mnt/media/b  1 B"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, b'{"error": "x", "detail": "send a token"}', "401 Unauthorized: send a token"),
        (404, b"404: Not Found", "404 Not Found"),
        (200, b"<html>", "this is no feed"),
        (200, b'{"cursor": "1"}', "this is no feed"),
    ],
)
def test_what_no_retry_can_cure_ends_with_one_line(
    feed: Feed, url: str, status: int, body: bytes, message: str
) -> None:
    feed.refusals = [(status, {}, body)]
    with pytest.raises(OperatorError, match=message) as caught:
        follow(url, Options(start=0))
    assert "\n" not in str(caught.value)


def test_once_does_not_wait_for_a_server(feed: Feed, capsys: pytest.CaptureFixture[str]) -> None:
    with served(feed) as url:
        pass
    assert cli.main(["follow", url, "--from", "0", "--once"]) == 1
    assert capsys.readouterr().err == f"nasfeed: {url}: connection refused\n"


def test_the_command_prints_and_ends(
    url: str, feed: Feed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NASFEED_TOKEN", "secret")
    assert cli.main(["follow", url.removeprefix("http://"), "--from", "0", "--once"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert set(feed.headers) == {"Bearer secret"}


@pytest.mark.parametrize(
    "words",
    [["--from", "-1"], ["--from", "x"], ["--interval", "0"], ["--interval", "nan"]],
)
def test_nonsense_is_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["follow", *words])
    assert caught.value.code == 2


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://host:port", "http://h:99999"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        FeedClient(url)


def kept(url: str, state: Path, *words: str) -> list[str]:
    """Follow once with a state; gives the lines without their times."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli.main(["follow", url, "--once", "--state", str(state), *words]) == 0
    return [line if words else line.partition("  ")[2] for line in out.getvalue().splitlines()]


def test_a_state_goes_on_where_it_ended(feed: Feed, url: str, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert kept(url, state) == ["+ /mnt/media/", "+ /mnt/media/a.txt  1.5 KiB"]
    assert kept(url, state) == []
    feed.put(FILE, "/mnt/media/b.txt", DIRECTORY, 7)
    feed.put(OTHER, "/mnt/media/new", DIRECTORY)
    assert kept(url, state) == [
        "→ /mnt/media/a.txt → /mnt/media/b.txt  7 B",
        "+ /mnt/media/new/",
    ]
    feed.remove(OTHER)
    assert kept(url, state) == ["- /mnt/media/new/"]


def test_after_a_reset_only_the_difference_is_told(
    feed: Feed, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(url, tmp_path / "state")
    feed.put(OTHER, "/mnt/media/new", DIRECTORY, 1)
    feed.log_id = "restored"
    del feed.log[1]
    feed.log.insert(0, feed.log[0])
    feed.log.append(feed.log[0])
    feed.floor = 3
    assert kept(url, tmp_path / "state") == ["- /mnt/media/a.txt", "+ /mnt/media/new  1 B"]
    assert "reading all anew" in capsys.readouterr().err


def test_a_state_tells_json_too(feed: Feed, url: str, tmp_path: Path) -> None:
    first = [json.loads(line) for line in kept(url, tmp_path / "state", "--json")]
    assert first[1]["change"] == "created"
    assert first[1]["node"]["size"] == 1536
    feed.remove(FILE)
    [gone] = [json.loads(line) for line in kept(url, tmp_path / "state", "--json")]
    assert gone == {
        "change": "removed",
        "path": "/mnt/media/a.txt",
        "removed": True,
        "node_id": FILE,
        "parent_id": DIRECTORY,
        "name": "a.txt",
        "is_directory": False,
    }


def test_a_state_and_a_start_contradict(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["follow", url, "--state", f"{tmp_path}/state", "--from", "0"]) == 1
    assert "give --from or --state, not both" in capsys.readouterr().err


def test_a_state_that_cannot_be_is_one_line(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    assert cli.main(["follow", url, "--state", f"{tmp_path}/notes"]) == 1
    assert capsys.readouterr().err == (
        f"nasfeed: {tmp_path}/notes: this is no state of a client; give another file\n"
    )
    assert (tmp_path / "notes").read_text() == "mine"
