"""Tells other servers that there is something newer in the log; what it is, they ask the feed.

Messages are those of Standard Webhooks
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md), for
which there are libraries that verify them in most languages. They have no content but the log's
name and its head. So only the newest matters: what happens while a message is on its way, or while
a receiver is away, is told by one message afterwards.

A receiver may miss a message, or get one twice. It must not rely on them alone, and loses nothing
when it does not: a poll now and then backs them up.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from api.status import WebhookState, WebhookStatus
from eventlog.clock import Clock
from eventlog.log import Log
from tools.client.backoff import Backoff
from tools.receivers import Webhook
from tools.text import utc_time

MESSAGE_TYPE: Final = "feed.advanced"

REST_SECONDS: Final = 1.0
"""The shortest time between two messages to a receiver."""

LOOK_SECONDS: Final = 5.0
"""How often the head is looked at when no commit wakes anyone, as while the first scan runs."""

BACKOFF_MIN_SECONDS: Final = 1.0
BACKOFF_MAX_SECONDS: Final = 300.0
"""Nothing is lost by waiting, and nobody is asked for patience with a message that is old."""

_SUCCESSES: Final = 2
_GONE: Final = 410
_log = logging.getLogger("nasfeed.webhooks")


class _Data(msgspec.Struct, frozen=True):
    log_id: str
    head: int


class _Message(msgspec.Struct, frozen=True):
    type: str
    timestamp: str
    data: _Data


class Answer(NamedTuple):
    """The head of an answer.

    Attributes:
        status: of HTTP.
        retry_after: what the field of this name says, else "".
    """

    status: int
    retry_after: str


class NotPostedError(Exception):
    """There was no answer; one line."""


Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[Answer]]
"""Posts to a URL a body with header fields; raises `NotPostedError`."""


class Feed(NamedTuple):
    """What is told of.

    Attributes:
        log: whose head is told.
        is_ready: whether the feed answers; before, nobody is called.
        clock: time.
    """

    log: Log
    is_ready: Callable[[], bool]
    clock: Clock


class Receiver:
    """One receiver, and how it does.

    Args:
        webhook: where it is, and the secret shared with it.
        feed: what it is told of.
        backoff: how long to wait after a failure.
        rest_seconds: the shortest time between two messages.
    """

    def __init__(
        self,
        webhook: Webhook,
        feed: Feed,
        backoff: Backoff | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self.status = WebhookStatus(receiver=webhook.receiver)
        self.grown = asyncio.Event()
        self._webhook = webhook
        self._feed = feed
        self._backoff = backoff or Backoff(BACKOFF_MIN_SECONDS, BACKOFF_MAX_SECONDS)
        self._rest_seconds = self._wait_seconds = rest_seconds
        self._message = (-1, b"")

    async def serve(self, post: Post) -> None:
        """Tell the receiver whatever is newer than what it was told, until it wants no more.

        The first message is for what may have happened before this server was started.

        Args:
            post: carries messages.
        """
        told = -1
        while self.status.state is not WebhookState.GONE:
            head = await self._newer_than(told)
            if await self._tell(post, head):
                told = head
            await asyncio.sleep(self._wait_seconds)

    async def _newer_than(self, told: int) -> int:
        """Wait until there is something to tell; returns the head."""
        while True:
            self.grown.clear()
            head = self._feed.log.head
            if head > told and self._feed.is_ready():
                return head
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self.grown.wait()

    async def _tell(self, post: Post, head: int) -> bool:
        """Make one attempt; returns whether the receiver took the message."""
        # Both are the same for each attempt, so that a receiver can tell a repetition.
        message_id = f"msg_{self._feed.log.log_id}_{head}"
        body = self._body(head)
        seconds = self._feed.clock.now_us() // 1_000_000
        headers = signed_headers(self._webhook.secret, message_id, seconds, body)
        try:
            answer = await post(self._webhook.url, body, headers)
        except NotPostedError as error:
            self._note_failure(str(error))
            return False
        return self._note(answer, head)

    def _body(self, head: int) -> bytes:
        if head != self._message[0]:
            when = utc_time(self._feed.clock.now_us())
            message = _Message(MESSAGE_TYPE, when, _Data(self._feed.log.log_id, head))
            self._message = (head, msgspec.json.encode(message))
        return self._message[1]

    def _note(self, answer: Answer, head: int) -> bool:
        taken = answer.status // 100 == _SUCCESSES
        if taken:
            self._note_success(head)
        else:
            asked = answer.retry_after
            self._note_failure(
                f"it answered {answer.status}",
                is_final=answer.status == _GONE,
                wait_seconds=float(asked) if asked.isdecimal() else 0,
            )
        return taken

    def _note_success(self, head: int) -> None:
        if self.status.failures:
            _log.info("webhook %s: it takes messages again", self.status.receiver)
        self._backoff.after_success()
        self._wait_seconds = self._rest_seconds
        self.status = WebhookStatus(
            receiver=self.status.receiver,
            state=WebhookState.DELIVERED,
            head=head,
            delivered=utc_time(self._feed.clock.now_us()),
            deliveries=self.status.deliveries + 1,
            failed_attempts=self.status.failed_attempts,
        )

    def _note_failure(self, error: str, *, is_final: bool = False, wait_seconds: float = 0) -> None:
        self._wait_seconds = max(self._rest_seconds, self._backoff.after_failure(wait_seconds))
        if is_final:
            _log.warning("webhook %s: %s; it is called no more", self.status.receiver, error)
        elif not self.status.failures:
            _log.warning("webhook %s: %s; trying on", self.status.receiver, error)
        self.status = msgspec.structs.replace(
            self.status,
            state=WebhookState.GONE if is_final else WebhookState.FAILING,
            error=error,
            failures=self.status.failures + 1,
            failed_attempts=self.status.failed_attempts + 1,
        )


def signed_headers(secret: bytes, message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """Return what Standard Webhooks sends with a message.

    Args:
        secret: shared with the receiver.
        message_id: of the message.
        seconds: when this attempt is made, since 1970 UTC.
        body: of the request.
    """
    signed = b"%b.%d.%b" % (message_id.encode(), seconds, body)
    signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
    return {
        "content-type": "application/json",
        "user-agent": "nasfeed",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }


@contextlib.asynccontextmanager
async def calling(receivers: Sequence[Receiver], log: Log) -> AsyncIterator[None]:
    """Tell the receivers while the context lasts, each by itself.

    Args:
        receivers: those to be told; there may be none.
        log: wakes them when it has grown.
    """
    if not receivers:
        yield
        return
    from tools.posting import posting  # noqa: PLC0415 - 4 MB and 0.1 s that few servers need

    loop = asyncio.get_running_loop()

    def wake() -> None:
        for receiver in receivers:
            receiver.grown.set()

    unsubscribe = log.wakeup.subscribe(lambda: _call(loop, wake))
    async with posting() as post:
        tasks = [asyncio.create_task(_shielded(receiver, post)) for receiver in receivers]
        try:
            yield
        finally:
            unsubscribe()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _call(loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed between the two: nobody waits
        loop.call_soon_threadsafe(wake)


async def _shielded(receiver: Receiver, post: Post) -> None:
    """Keep a fault in the calling of one receiver from all else."""
    try:
        await receiver.serve(post)
    except Exception as error:  # noqa: BLE001 - logged and shown; the server goes on
        _log.error("webhook %s is called no more", receiver.status.receiver, exc_info=error)
        receiver.status = msgspec.structs.replace(
            receiver.status, state=WebhookState.GONE, error=f"a fault of this server: {error!r}"
        )
