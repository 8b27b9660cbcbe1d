"""Nodes, children and histories, now and as of any position that the log remembers."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from api.answers import Answer, problem
from api.encode import to_json
from api.past_answers import PastAnswers
from api.past_query import At, Parameters, QueryError
from api.ports import FeedLog
from api.wire import Cursor
from eventlog.events import SUPER_ROOT
from projections.frames import DamagedSnapshotError
from projections.overlay import Key
from projections.past import Past, UncoveredError, Why
from projections.past_tree import PastTree, is_directory, is_gone

READERS: Final = 2
"""Threads for questions about now, which take microseconds to milliseconds."""

_UNKNOWN: Final = "there is no node with this id"

_log = logging.getLogger(__name__)

Work = Callable[[Past], Answer]


class PastFace:
    """Answers what is and what was.

    Questions about the past have a thread of their own: the first one about a position may take
    seconds, and those about now must not wait for it.

    Args:
        log: what is read.
        refusal: returns what is answered until the first scan is complete, or None.
    """

    def __init__(self, log: FeedLog, refusal: Callable[[], Answer | None]) -> None:
        self._log = log
        self._refusal = refusal
        self._say = PastAnswers(log.log_id, log.ids)
        self._now = ThreadPoolExecutor(READERS, thread_name_prefix="node-reader")
        self._then = ThreadPoolExecutor(1, thread_name_prefix="past-reader")

    def close(self) -> None:
        """Let the reading threads end."""
        self._now.shutdown(wait=False, cancel_futures=True)
        self._then.shutdown(wait=False, cancel_futures=True)

    async def cursor(self, query: bytes) -> Answer:
        """Answer with the last position before a time.

        Args:
            query: of the request, raw.
        """

        def prepare(asked: Parameters) -> Work:
            time_us = asked.time()
            return lambda past: self._cursor(past, time_us)

        return await self._answer(query, prepare)

    async def node(self, node_id: str, query: bytes) -> Answer:
        """Answer with a node or its tombstone.

        Args:
            node_id: as the client sent it.
            query: of the request, raw.
        """

        def prepare(asked: Parameters) -> Work:
            at = asked.at()
            return lambda past: self._node(tree_at(past, at), node_id)

        return await self._answer(query, prepare)

    async def by_path(self, query: bytes) -> Answer:
        """Answer with the node at a path.

        Args:
            query: of the request, raw.
        """

        def prepare(asked: Parameters) -> Work:
            at, path = asked.at(), asked.path()
            return lambda past: self._by_path(tree_at(past, at), path)

        return await self._answer(query, prepare)

    async def children(self, node_id: str, query: bytes) -> Answer:
        """Answer with a page of a directory.

        Args:
            node_id: as the client sent it.
            query: of the request, raw.
        """

        def prepare(asked: Parameters) -> Work:
            at, after, limit = asked.at(), asked.after_key(), asked.limit()
            return lambda past: self._children(tree_at(past, at), node_id, after, limit)

        return await self._answer(query, prepare)

    async def history(self, node_id: str, query: bytes) -> Answer:
        """Answer with a page of what happened to a node.

        Args:
            node_id: as the client sent it.
            query: of the request, raw.
        """

        def prepare(asked: Parameters) -> Work:
            after = asked.after_position()
            return lambda past: self._history(past, node_id, after, asked.limit())

        return await self._answer(query, prepare)

    async def _answer(self, query: bytes, prepare: Callable[[Parameters], Work]) -> Answer:
        """Read the parameters at once, then the log in a thread."""
        refusal = self._refusal()
        if refusal is not None:
            return refusal
        asked = Parameters(query)
        try:
            work = prepare(asked)
        except QueryError as error:
            return self._refuse(400, f"invalid_{error.name}", str(error))
        threads = self._then if asked.is_past else self._now
        return await asyncio.get_running_loop().run_in_executor(threads, self._run, work)

    def _run(self, work: Work) -> Answer:
        met: list[object] = []
        while True:
            try:
                with self._log.past() as past:
                    return work(past)
            except UncoveredError as error:
                return Answer(to_json(self._say.not_covered(error)), 410)
            except DamagedSnapshotError as error:
                _log.error("%s", error)
                if error.path in met:
                    return self._refuse(500, "snapshot_damaged", "a snapshot is damaged")
                met.append(error.path)  # it is passed over now: the next older one may do

    def _cursor(self, past: Past, time_us: int) -> Answer:
        position, floor = past.cursor_before(time_us), self._log.floor()
        if 0 < position < floor:
            raise UncoveredError(Why.FORGOTTEN, past.beginning_at(floor))
        return Answer(to_json(Cursor(position, self._log.log_id)))

    def _node(self, tree: PastTree, node_id: str) -> Answer:
        number = self._log.ids.to_number(node_id)
        if number == SUPER_ROOT:
            return Answer(to_json(self._say.super_root(tree)))
        stored = None if number is None else tree.last(number)
        if stored is None:
            return self._refuse(404, "not_found", _UNKNOWN)
        return Answer(to_json(self._say.node(tree, stored)))

    def _by_path(self, tree: PastTree, path: bytes) -> Answer:
        stored = tree.resolve(path)
        if stored is None:
            return self._refuse(404, "not_found", "there is no node at this path")
        return Answer(to_json(self._say.node(tree, stored)))

    def _children(self, tree: PastTree, node_id: str, after: Key, limit: int) -> Answer:
        number = self._log.ids.to_number(node_id)
        refusal = None if number == SUPER_ROOT else self._no_directory(tree, number)
        if refusal is not None or number is None:
            return refusal or self._refuse(404, "not_found", _UNKNOWN)
        page = tree.children(number, after, limit + 1)
        return Answer(to_json(self._say.children(tree, page, limit)))

    def _no_directory(self, tree: PastTree, number: int | None) -> Answer | None:
        stored = None if number is None else tree.last(number)
        if stored is None:
            return self._refuse(404, "not_found", _UNKNOWN)
        if is_gone(stored.event):
            detail = f"it was removed at position {stored.position}; ask for it as of one before"
            return self._refuse(404, "removed", detail)
        if not is_directory(stored.event):
            return self._refuse(400, "not_a_directory", "only a directory has children")
        return None

    def _history(self, past: Past, node_id: str, after: int, limit: int) -> Answer:
        number = self._log.ids.to_number(node_id)
        # A node that was ever there has a last event.
        if not number or past.now().last(number) is None:
            return self._refuse(404, "not_found", _UNKNOWN)
        page = past.events(number, after, limit + 1)
        return Answer(to_json(self._say.history(past, page, after, limit)))

    def _refuse(self, status: int, error: str, detail: str) -> Answer:
        return problem(status, error, detail, log_id=self._log.log_id)


def tree_at(past: Past, at: At | None) -> PastTree:
    """Return the tree that is asked for.

    Args:
        past: to be read.
        at: when; None for now.

    Raises:
        UncoveredError: it is not known.
    """
    if at is None:
        return past.now()
    return past.before(at.time_us) if at.position is None else past.at(at.position)
