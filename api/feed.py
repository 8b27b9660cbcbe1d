"""The feed: what each of its requests is answered. Who carries the answer, this module ignores."""

import asyncio
from collections.abc import Sequence
from typing import Final

from api import query
from api.answers import Answer, problem
from api.asgi import Receive
from api.encode import SUPER_ROOT_FIELDS, page_json, shown, to_json
from api.filtered import FilteredReads, LongPage, UnknownFilterError
from api.limits import Delivery
from api.longpoll import poll
from api.pages import Pages, Reading
from api.ports import AskReadiness, FeedLog
from api.shared import SharedReads
from api.sleepers import Sleepers
from api.stream import EVENT_PAGE, Form, Source, Stream
from api.wire import Changes, Cursor, Gone, NodePath, NotReady, Root
from eventlog.events import SUPER_ROOT
from projections.filter import Filter

RETRY_SECONDS: Final = "2"
"""When a client should ask again while the first scan runs."""

RESYNC: Final = "/api/v1/changes?cursor=0"

BUSY_RETRY_SECONDS: Final = "30"
"""When a client should ask again that found no place to wait."""


class Feed:
    """Answers the feed's requests.

    Args:
        log: what is read.
        readiness: asked until it is ready.
        delivery: how those are served who wait for changes.

    Attributes:
        sleepers: all who wait for something.
    """

    def __init__(
        self, log: FeedLog, readiness: AskReadiness, delivery: Delivery | None = None
    ) -> None:
        self._log = log
        self._readiness = readiness
        self._ready = False
        self._pages = Pages(self._read, log.head)
        self._cursor = (-1, Answer(b""))
        self._end = (-1, Answer(b""))
        self._root: Answer | None = None
        self._delivery = delivery or Delivery()
        self.sleepers = Sleepers(log.head, log.subscribe, self._delivery.streams_max)
        self._shared = SharedReads(self._pages.submit, log.head)
        self._filtered = FilteredReads(log)
        self._source = Source(
            refusal=self._unhonoured,
            page=self._shared.page,
            head=log.head,
            reads=self._filtered,
            run=self._pages.run,
            busy=self.busy,
            log_id=log.log_id,
        )

    def stop(self) -> None:
        """End all streams, and answer all long polls: the server stops."""
        self.sleepers.stop()

    @property
    def log_id(self) -> str:
        """Epoch of the log's positions."""
        return self._log.log_id

    def head(self) -> int:
        """Return the last durable position."""
        return self._log.head()

    def close(self) -> None:
        """Let the reading threads end."""
        self.sleepers.close()
        self._pages.close()

    def refusal(self) -> Answer | None:
        """Return what every request is answered until the first scan is complete, or None."""
        return None if self._ready else self._not_ready()

    def cursor(self) -> Answer:
        """Answer where the log ends; touches no database."""
        if not self._ready and (refusal := self._not_ready()):
            return refusal
        head = self._log.head()
        known, answer = self._cursor
        if head != known:
            answer = Answer(to_json(Cursor(head, self._log.log_id)))
            self._cursor = (head, answer)
        return answer

    def root(self) -> Answer:
        """Answer with the super-root."""
        if not self._ready and (refusal := self._not_ready()):
            return refusal
        if self._root is None:
            self._root = Answer(to_json(Root(**SUPER_ROOT_FIELDS, log_id=self._log.log_id)))
        return self._root

    def path(self, node_id: str) -> Answer:
        """Answer where a node is.

        Args:
            node_id: as the client sent it.
        """
        if not self._ready and (refusal := self._not_ready()):
            return refusal
        number = self._log.ids.to_number(node_id)
        if number == SUPER_ROOT:
            return self._refuse(400, "super_root", "no path for super-root")
        path = None if number is None else self._log.path(number)
        if path is None:
            return self._refuse(404, "not_found", "there is no node with this id")
        text, raw = shown(path)
        return Answer(to_json(NodePath(text, self._log.log_id, raw)))

    def _refuse(self, status: int, error: str, detail: str) -> Answer:
        return problem(status, error, detail, log_id=self._log.log_id)

    def at_end(self) -> tuple[int, Answer] | None:
        """Return the head and what is answered to a client that is there, or None if not ready.

        Most polls of most clients get this answer, so it is made once for each head.
        """
        if not self._ready and self._not_ready():
            return None
        head = self._log.head()
        if head != self._end[0]:
            page = Changes(head, [], has_more=False, log_id=self._log.log_id)
            self._end = (head, Answer(to_json(page)))
        return self._end

    async def changes(
        self, query_string: bytes, log_ids: Sequence[str] = (), receive: Receive | None = None
    ) -> Answer | LongPage:
        """Answer with a page of changes; if it may wait, as soon as there are any.

        Args:
            query_string: of the request, raw.
            log_ids: epochs named in headers.
            receive: of the request; tells when its client is gone.
        """
        asked = await self._asked(query_string, log_ids, query.PAGE_DEFAULT)
        if isinstance(asked, Answer):
            return asked
        page = await self._page(asked)
        if asked.wait and page.is_empty:
            if not self.sleepers.take():
                return self.busy()
            try:
                page = await poll(asked, page, self._page, self.sleepers, receive)
            finally:
                self.sleepers.leave()
        if page.below is None:
            return page.answer
        return LongPage(page.below, self._filtered, self._pages.run)

    async def stream(
        self, query_string: bytes, log_ids: Sequence[str], last_event_id: str | None, form: Form
    ) -> Answer | Stream:
        """Answer with a stream of changes, or say why there is none.

        A cursor that cannot be honoured is no reason: the stream says so itself, see `Stream`.

        Args:
            query_string: of the request, raw.
            log_ids: epochs named in headers.
            last_event_id: cursor that a client of server-sent events got last, if it did.
            form: how the stream is written.
        """
        asked = await self._asked(query_string, log_ids, EVENT_PAGE, last_event_id)
        if isinstance(asked, Answer):
            return asked
        return Stream(asked, form, self._source, self.sleepers, self._delivery.heartbeat_seconds)

    async def filter(self, query_string: bytes) -> Filter | Answer | None:
        """Return the filter that a request for the whole tree names, None if it names none.

        Args:
            query_string: of the request, raw.

        Returns:
            The filter, or why the request is refused.
        """
        if not self._ready and (refusal := self._not_ready()):
            return refusal
        try:
            wanted = query.parse_wanted(query_string)
            if wanted is None:
                return None
            return await asyncio.to_thread(self._filtered.check, wanted)
        except query.QueryError as error:
            return self._refuse(400, error.error, str(error))
        except UnknownFilterError as error:
            return self._refuse(404, "unknown_filter", str(error))

    async def _asked(
        self, query_string: bytes, log_ids: Sequence[str], limit: int, cursor: str | None = None
    ) -> query.ChangesQuery | Answer:
        """Return what a client asks for, or why it gets nothing.

        Args:
            query_string: of the request, raw.
            log_ids: epochs named in headers.
            limit: how many changes there are in an answer unless the client says.
            cursor: one that wins over that in the query string.
        """
        if self._pages.is_closed:
            return self._stopping()
        if not self._ready and (refusal := self._not_ready()):
            return refusal
        try:
            asked = query.parse(query_string, limit)
            if cursor:
                asked = asked._replace(cursor=query.parse_cursor(cursor), since=0)
            if asked.wanted is not None:
                await asyncio.to_thread(self._filtered.check, asked.wanted, asked.cursor)
        except query.QueryError as error:
            return self._refuse(400, error.error, str(error))
        except UnknownFilterError as error:
            return self._refuse(404, "unknown_filter", str(error))
        return asked._replace(log_ids=(*log_ids, *asked.log_ids))

    def _unhonoured(self, asked: query.ChangesQuery) -> Answer | None:
        """Return why a cursor cannot be honoured, as far as memory tells, or None."""
        foreign = any(log_id != self._log.log_id for log_id in asked.log_ids)
        if foreign or self._log.is_lost(asked.cursor):
            return self._gone("foreign_log", self._log.head())
        if 0 < asked.cursor < self._log.floor():
            return self._gone("cursor_expired", self._log.head())
        return None

    async def _page(self, asked: query.ChangesQuery) -> Reading:
        if refusal := self._unhonoured(asked):
            return Reading(refusal)
        end = self.at_end()
        if asked.wanted is None and end is not None and end[0] == asked.cursor:
            return Reading(end[1], end[0], is_empty=True)
        return await self._pages.page(asked.after(asked.cursor, asked.since))

    def _read(self, asked: query.ChangesQuery) -> Reading:
        if asked.wanted is not None:
            return self._read_filtered(asked)
        page = self._log.changes(asked.cursor, asked.limit)
        # The database decides, not the head in memory: that one follows a moment after a commit,
        # and a client may hold a cursor from just that moment.
        if page.cursor < asked.cursor:
            return Reading(self._gone("cursor_ahead", page.cursor))
        if 0 < asked.cursor < page.floor:  # likewise: a squash may have begun to drop removals
            return Reading(self._gone("cursor_expired", page.cursor))
        log = self._log
        body = page_json(page.cursor, page.rows, log.log_id, log.ids, has_more=page.has_more)
        return Reading(Answer(body), page.cursor, page.has_more, not page.rows)

    def _read_filtered(self, asked: query.ChangesQuery) -> Reading:
        page, body = self._filtered.page(asked)
        if page.cursor < asked.cursor:
            return Reading(self._gone("cursor_ahead", page.cursor))
        if 0 < asked.cursor < page.floor:  # see `_read`
            return Reading(self._gone("cursor_expired", page.cursor))
        below = page if page.numbers else None
        is_empty = not (page.rows or page.numbers)
        return Reading(Answer(body), page.cursor, page.has_more, is_empty, page.since, below)

    def _stopping(self) -> Answer:
        """Return what is answered to a request that comes while the server stops."""
        return problem(
            503,
            "stopping",
            "the server stops; ask again when it is back",
            (("retry-after", RETRY_SECONDS),),
            self._log.log_id,
        )

    def busy(self) -> Answer:
        """Return what is answered to those who find no place to wait."""
        return problem(
            503,
            "too_many_streams",
            "too many clients wait for changes; ask again later, or without waiting",
            (("retry-after", BUSY_RETRY_SECONDS),),
            self._log.log_id,
        )

    def _gone(self, error: str, head: int) -> Answer:
        gone = Gone(
            error=error,
            log_id=self._log.log_id,
            earliest=self._log.floor(),
            head=head,
            resync=RESYNC,
            cursor=0,
            changes=[],
            has_more=True,
            reset=True,
        )
        return Answer(to_json(gone), 410)

    def _not_ready(self) -> Answer | None:
        """Return the refusal that holds until the first scan is complete, or None."""
        readiness = self._readiness()
        self._ready = readiness.ready
        if self._ready:
            return None
        body = NotReady(
            error="starting",
            detail="the first scan of the roots is not complete yet"
            + (f"; waiting for {readiness.waiting_for}" if readiness.waiting_for else ""),
            log_id=self._log.log_id,
            progress=readiness.progress,
        )
        return Answer(to_json(body), 503, (("retry-after", RETRY_SECONDS),))
