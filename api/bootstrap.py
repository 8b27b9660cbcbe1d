"""The whole tree in one answer: lines of JSON, with the cursor to go on from.

The first line names the log and the cursor. Each further line is a change as in an answer of
/changes, parents before children, as the tree was at that cursor. The last line says how many
there were: an answer without it was cut off, and is worth nothing. Whoever has it goes on with
/changes from the cursor, and misses nothing; why, `projections.bootstrap` says.

Nothing is held while a client is slow but one page and its connection, which the server closes
when the client takes too little for too long.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from msgspec import UNSET

from api.answers import Answer, problem
from api.asgi import Receive, Scope, Send
from api.encode import changes, to_lines
from api.ports import FeedLog
from api.sending import send_answer
from api.sleepers import until_left
from api.wire import SnapshotBegin, SnapshotEnd
from eventlog.errors import LogError
from projections.bootstrap import Bootstrap
from projections.filter import Filter

CONTENT_TYPE: Final = "application/x-ndjson"

TOGETHER_MAX: Final = 4
"""Snapshots that are sent at the same time; each takes the time of a drain."""

RETRY_SECONDS: Final = "10"

_log = logging.getLogger(__name__)


class Snapshots:
    """Answers requests for the whole tree.

    Args:
        log: what is read.
    """

    def __init__(self, log: FeedLog) -> None:
        self.log = log
        # Of their own: a page of the feed must not wait behind those of a new client.
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="snapshot-reader")
        self.running = 0

    def close(self) -> None:
        """Let the reading thread end."""
        self.threads.shutdown(wait=False, cancel_futures=True)

    def busy(self) -> Answer:
        """Return what is answered when there are too many."""
        return problem(
            503,
            "too_many_snapshots",
            "too many clients read the whole tree; ask again later",
            (("retry-after", RETRY_SECONDS),),
            self.log.log_id,
        )

    def page(self, walk: Bootstrap) -> tuple[int, bytes]:
        """Read and encode the next page of a walk, in a thread.

        Returns:
            How many nodes it has, and their lines.
        """
        rows = self.log.bootstrap_page(walk)
        return len(rows), to_lines(changes(rows, self.log.ids))


class SnapshotStream:
    """The ASGI application of one answer.

    Args:
        snapshots: where it reads.
        wanted: what is wanted, if not everything.
    """

    def __init__(self, snapshots: Snapshots, wanted: Filter | None = None) -> None:
        self._snapshots = snapshots
        self._wanted = wanted

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        """Send the tree, or say that too many others are being sent."""
        if self._snapshots.running >= TOGETHER_MAX:
            await send_answer(self._snapshots.busy(), send)
            return
        self._snapshots.running += 1
        left = asyncio.ensure_future(until_left(receive))
        try:
            await self._send(send, left)
        finally:
            left.cancel()
            self._snapshots.running -= 1

    async def _send(self, send: Send, left: "asyncio.Future[None]") -> None:
        log = self._snapshots.log
        walk, count = Bootstrap(log.head(), self._wanted), 0
        head = [(b"content-type", CONTENT_TYPE.encode()), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        since = UNSET if self._wanted is None else walk.position
        await send(_part(to_lines([SnapshotBegin(log.log_id, walk.position, since)])))
        loop = asyncio.get_running_loop()
        while not (walk.is_done or left.done()):
            try:
                read, lines = await loop.run_in_executor(
                    self._snapshots.threads, self._snapshots.page, walk
                )
            except LogError as error:
                _log.error("an answer of /snapshot is cut off: %s", error)
                return  # which breaks the connection, as an unfinished answer must
            count += read
            if lines:
                await send(_part(lines))
        end = b""
        if walk.is_done and not 0 < walk.position < log.floor():  # else a squash overtook it
            end = to_lines([SnapshotEnd(log.log_id, walk.position, count)])
        await send({"type": "http.response.body", "body": end, "more_body": False})


def _part(data: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": True}
