"""Tells clients that keep copies what has changed, as soon as it has: WATCH, an extension.

A request names where the client has got to, by X-Spock-position of the answer before; without it,
only that is told. It is answered when something has changed, or after a while.
Each line of the answer has a path, percent-encoded, and what is there now: inode number, size, and
mtime and ctime in nanoseconds; or a hyphen alone when nothing is. With X-Spock-all the client must
forget all it keeps.
"""

import asyncio
import errno
from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import quote_from_bytes

from api.spockfs.call import Call, Reply
from api.spockfs.errors import Refusal
from api.threads import Threads
from projections.touches import Touch

WAIT_SECONDS: Final = 25.0
"""The longest silence; proxies cut what is silent for a minute."""

WATCHERS_MAX: Final = 64


class Happenings(Protocol):
    """What the log says has changed."""

    @property
    def log_id(self) -> str:
        """Name of the epoch of the log's positions."""
        ...

    def head(self) -> int:
        """Return the last durable position."""
        ...

    def floor(self) -> int:
        """Return the first position that is still honoured."""
        ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have a callback called after each commit, on any thread; returns what ends that."""
        ...

    def touches(self, after: int) -> tuple[int, list[Touch]]:
        """Read what was touched after a position; called in a thread."""
        ...


class Watchers:
    """Those who wait; used on the event loop's thread.

    Args:
        log: says what has changed.
        threads: where it is read.
    """

    def __init__(self, log: Happenings, threads: Threads) -> None:
        self._log = log
        self._threads = threads
        self._waiting: set[asyncio.Event] = set()
        self._is_stopping = False

    def stop(self) -> None:
        """Answer all who wait: the server stops."""
        self._is_stopping = True
        self._wake()

    async def answer(self, call: Call) -> Reply:
        """Answer a request.

        Raises:
            Refusal: nothing is known of this mount point, or too many wait.
        """
        top = call.mount.top
        if top is None:
            raise Refusal(errno.EOPNOTSUPP, "this directory is not watched")
        if call.mounts.leads_elsewhere(call.mount):
            # A client would take silence about what is there for peace.
            raise Refusal(errno.EOPNOTSUPP, "a mount point below this one leads elsewhere")
        position = self._position(call)
        if position is None:
            return self._reply(self._log.head(), b"", everything=True)
        await self._wait(position)
        last, touched = await self._threads.run(lambda: self._log.touches(position))
        return self._reply(last, b"".join(_lines(top, touched)))

    def _position(self, call: Call) -> int | None:
        """Return where a client has got to; None when that says nothing here."""
        epoch, _, text = call.fields.get(b"x-spock-position", b"").decode("latin-1").partition(":")
        if epoch != self._log.log_id or not text.isascii() or not text.isdigit():
            return None
        position = int(text)
        return position if self._log.floor() <= position <= self._log.head() else None

    def _reply(self, position: int, body: bytes, *, everything: bool = False) -> Reply:
        told = [(b"x-spock-position", f"{self._log.log_id}:{position}".encode())]
        return Reply(fields=[*told, (b"x-spock-all", b"1")] if everything else told, body=body)

    async def _wait(self, position: int) -> None:
        if len(self._waiting) >= WATCHERS_MAX:
            raise Refusal(errno.EAGAIN, "too many wait already")
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(woken.set)

        unsubscribe = self._log.subscribe(wake)
        self._waiting.add(woken)
        try:
            if self._log.head() <= position and not self._is_stopping:
                async with asyncio.timeout(WAIT_SECONDS):
                    await woken.wait()
        except TimeoutError:
            pass  # the client hears that it has missed nothing
        finally:
            self._waiting.discard(woken)
            unsubscribe()

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()


def _lines(top: bytes, touched: list[Touch]) -> list[bytes]:
    """Return a line for each place below a directory; of one that is there again, the last."""
    below = top.rstrip(b"/") + b"/"
    latest = {path: state for path, state in touched if path.startswith(below)}
    lines = []
    for path, state in latest.items():
        now = "-"
        if state is not None:
            now = f"{state.ino} {state.size} {state.mtime_ns} {state.ctime_ns}"
        lines.append(f"/{quote_from_bytes(path[len(below) :])} {now}\n".encode())
    return lines
