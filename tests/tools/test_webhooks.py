"""Who asked to be told that there is something newer is told, whatever happens to the others."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from api.status import WebhookState
from eventlog.clock import SystemClock
from eventlog.events import Created
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from tests.tools.receiver_server import Inbox, receiving
from tests.tools.sample import directory
from tools.client.backoff import Backoff
from tools.posting import posting
from tools.receivers import Webhook
from tools.webhooks import Answer, Feed, NotPostedError, Receiver, calling, signed_headers

DEADLINE_SECONDS = 60.0
SECRET = b"0123456789abcdef01234567"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(f"{tmp_path}/log.db", FOLDS)
    yield log
    log.close()


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def url(inbox: Inbox) -> Iterator[str]:
    with receiving(inbox) as url:
        yield url


def grow(log: Log, count: int = 1) -> None:
    for _ in range(count):
        log.append([Draft(0, Created("", directory(0, b"x%d" % log.head)))])


def receiver_of(url: str, log: Log, *, ready: bool = True) -> Receiver:
    feed = Feed(log, lambda: ready, SystemClock())
    return Receiver(Webhook(url, SECRET, "http://nas"), feed, Backoff(0.01, 0.02), 0.0)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():  # noqa: ASYNC110 - what threads do sets no event
            await asyncio.sleep(0.005)


def while_calling(log: Log, work: Coroutine[None, None, None], *receivers: Receiver) -> None:
    async def run() -> None:
        async with calling(receivers, log):
            await work

    asyncio.run(run())


def heads(inbox: Inbox) -> list[int]:
    return [json.loads(body)["data"]["head"] for _, body in inbox.messages]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    """The example that the libraries of the standard are tested with."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    headers = signed_headers(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert headers["webhook-id"] == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert headers["webhook-timestamp"] == "1614265330"
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_names_log_and_head_and_nothing_else(log: Log, inbox: Inbox, url: str) -> None:
    grow(log, 3)
    receiver = receiver_of(url, log)
    while_calling(log, until(lambda: receiver.status.deliveries == 1), receiver)
    [(fields, body)] = inbox.messages
    message = json.loads(body)
    assert message.pop("timestamp").endswith("Z")
    assert message == {"type": "feed.advanced", "data": {"log_id": log.log_id, "head": 3}}
    signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert fields["webhook-signature"] == f"v1,{signature}"
    assert abs(int(fields["webhook-timestamp"]) - SystemClock().now_us() // 1_000_000) < 300
    status = receiver.status
    assert (status.state, status.head, status.error) == (WebhookState.DELIVERED, 3, "")
    assert status.delivered.endswith("Z")


def test_each_commit_is_told_soon(log: Log, inbox: Inbox, url: str) -> None:
    receiver = receiver_of(url, log)

    async def work() -> None:
        for count in range(1, 4):
            await until(lambda count=count: receiver.status.deliveries == count)  # type: ignore[misc]  # mypy has no types for defaults
            await asyncio.to_thread(grow, log)
        await until(lambda: receiver.status.head == 3)

    while_calling(log, work(), receiver)
    assert heads(inbox) == [0, 1, 2, 3]


def test_what_happens_meanwhile_is_told_by_one_message(log: Log, inbox: Inbox, url: str) -> None:
    receiver = receiver_of(url, log)
    inbox.hold.clear()

    async def work() -> None:
        await until(lambda: len(inbox.messages) == 1)
        await asyncio.to_thread(grow, log, 20)
        inbox.hold.set()
        await until(lambda: receiver.status.head == 20)

    while_calling(log, work(), receiver)
    assert heads(inbox) == [0, 20]


def test_a_failure_is_tried_again_with_the_same_message(log: Log, inbox: Inbox, url: str) -> None:
    inbox.answers = [(500, {}), (302, {"Location": "/"}), (429, {"Retry-After": "9"})]
    receiver = receiver_of(url, log)
    while_calling(log, until(lambda: receiver.status.deliveries == 1), receiver)
    assert len(inbox.messages) == 4
    assert len({(fields["webhook-id"], body) for fields, body in inbox.messages}) == 1
    status = receiver.status
    assert (status.failures, status.failed_attempts, status.error) == (0, 3, "")


def test_while_it_fails_that_is_shown(log: Log, inbox: Inbox, url: str) -> None:
    inbox.answers = [(500, {})] * 10_000
    receiver = receiver_of(url, log)
    while_calling(log, until(lambda: receiver.status.failures >= 2), receiver)
    assert receiver.status.state is WebhookState.FAILING
    assert receiver.status.error == "it answered 500"


def test_whoever_wants_no_more_gets_no_more(log: Log, inbox: Inbox, url: str) -> None:
    inbox.answers = [(410, {})]
    receiver = receiver_of(url, log)

    async def work() -> None:
        await until(lambda: receiver.status.state is WebhookState.GONE)
        await asyncio.to_thread(grow, log)

    while_calling(log, work(), receiver)
    assert heads(inbox) == [0]


def test_one_that_is_dead_costs_the_others_nothing(log: Log, inbox: Inbox, url: str) -> None:
    with receiving(Inbox()) as gone:
        pass
    dead, alive = receiver_of(gone, log), receiver_of(url, log)

    async def work() -> None:
        for count in range(3):
            await until(lambda count=count: alive.status.deliveries > count)  # type: ignore[misc]  # mypy has no types for defaults
            await asyncio.to_thread(grow, log)
        await until(lambda: dead.status.failures > 1)

    while_calling(log, work(), dead, alive)
    assert heads(inbox)[:3] == [0, 1, 2]
    assert "connection" in dead.status.error.lower()


def test_a_receiver_that_was_away_is_told_the_newest(log: Log, inbox: Inbox) -> None:
    with receiving(Inbox()) as gone:
        pass
    receiver = receiver_of(gone, log)
    port = int(gone.split(":")[2].partition("/")[0])

    async def work() -> None:
        await until(lambda: receiver.status.failures > 0)
        await asyncio.to_thread(grow, log, 5)
        with receiving(inbox, port):
            await until(lambda: receiver.status.head == 5)

    while_calling(log, work(), receiver)
    assert heads(inbox)[-1] == 5


def test_nobody_is_called_before_the_feed_answers(log: Log, inbox: Inbox, url: str) -> None:
    receiver = receiver_of(url, log, ready=False)

    async def work() -> None:
        await asyncio.to_thread(grow, log, 3)
        await asyncio.sleep(0)

    while_calling(log, work(), receiver)
    assert inbox.messages == []
    assert receiver.status.state is WebhookState.WAITING


def test_a_receiver_that_never_answers_is_given_up(inbox: Inbox, url: str) -> None:
    inbox.hold.clear()

    async def run() -> None:
        async with posting(0.05) as post:
            with pytest.raises(NotPostedError, match=r"no answer within 0.05 seconds|[Tt]imeout"):
                await post(url, b"{}", {})

    asyncio.run(run())


def test_a_fault_of_ours_ends_only_the_calling(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> bool:
        raise LookupError("a fault")

    grow(log)
    feed = Feed(log, broken, SystemClock())
    receiver = Receiver(Webhook("http://x", SECRET, "http://x"), feed)
    while_calling(log, until(lambda: receiver.status.state is WebhookState.GONE), receiver)
    assert "a fault" in receiver.status.error
    assert "is called no more" in caplog.text


def test_messages_rest_between_and_wait_longer_after_each_failure(log: Log) -> None:
    waits: list[float] = []
    answers = [Answer(500, ""), Answer(503, "7"), Answer(204, ""), Answer(204, "")]

    async def post(*_: object) -> Answer:
        waits.append(receiver._wait_seconds)
        return answers.pop(0)

    grow(log)
    feed = Feed(log, lambda: True, SystemClock())
    backoff = Backoff(1, 300, lambda: 1.0)
    receiver = Receiver(Webhook("http://x", SECRET, "http://x"), feed, backoff, 5.0)

    async def run() -> None:
        for head in (1, 1, 1):
            await receiver._tell(post, head)
        waits.append(receiver._wait_seconds)

    asyncio.run(run())
    assert waits == [5.0, 5.0, 7.0, 5.0]
