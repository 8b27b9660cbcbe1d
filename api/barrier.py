"""`/cursor?sync=SECONDS`: a cursor at which everything done on the disk before is in the feed."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from api import query
from api.answers import Answer, problem
from api.asgi import Receive
from api.encode import to_json
from api.feed import Feed
from api.ports import BeginSync
from api.sleepers import until_left
from api.wire import NotSynced, RootSync, Synced

_TOO_LATE: Final = "not reached in time"


class BarrierFace:
    """Answers requests for barriers.

    Args:
        feed: gives cursors, and places to wait.
        begin: begins a barrier in every root.
    """

    def __init__(self, feed: Feed, begin: BeginSync) -> None:
        self._feed = feed
        self._begin = begin

    async def cursor(self, query_string: bytes, receive: Receive) -> Answer:
        """Answer with a cursor as soon as all roots have caught up with their disks.

        Args:
            query_string: of the request, raw.
            receive: of the request; tells when its client is gone.
        """
        if refusal := self._feed.refusal():
            return refusal
        try:
            seconds = query.parse_sync(query_string)
        except query.QueryError as error:
            return problem(400, error.error, str(error), log_id=self._feed.log_id)
        if not self._feed.sleepers.take():
            return self._feed.busy()
        try:
            return self._answer(await _reached(self._begin(), seconds, receive))
        finally:
            self._feed.sleepers.leave()

    def _answer(self, roots: list[RootSync]) -> Answer:
        log_id = self._feed.log_id
        late = [root.name for root in roots if root.reason == _TOO_LATE]
        if not late:
            synced = all(root.synced for root in roots)
            return Answer(to_json(Synced(self._feed.head(), log_id, synced, roots)))
        detail = f"not all that was done on the disk is in the feed yet; late: {', '.join(late)}"
        return Answer(to_json(NotSynced("not_synced", detail, log_id, roots)), 504)


async def _reached(
    barriers: Mapping[str, Future[str]], seconds: float, receive: Receive
) -> list[RootSync]:
    """Wait until all barriers are reached, the time is over, or the client is gone."""
    waits = {name: asyncio.wrap_future(barrier) for name, barrier in barriers.items()}
    left = asyncio.ensure_future(until_left(receive))
    every = asyncio.ensure_future(asyncio.wait(waits.values())) if waits else None
    try:
        if every is not None:
            await asyncio.wait([every, left], timeout=seconds, return_when="FIRST_COMPLETED")
        return [_root(name, wait) for name, wait in waits.items()]
    finally:
        left.cancel()
        if every is not None:
            every.cancel()
        for wait in waits.values():
            wait.cancel()  # and with it the barrier, which nobody waits for any more


def _root(name: str, wait: "asyncio.Future[str]") -> RootSync:
    if not wait.done():
        return RootSync(name, synced=False, how="", reason=_TOO_LATE)
    if error := wait.exception():
        return RootSync(name, synced=False, how="", reason=str(error))
    return RootSync(name, synced=True, how=wait.result(), reason="")
