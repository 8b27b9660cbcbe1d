"""HTTP/1.1 as uvicorn's httptools protocol speaks it, with the deadlines and limits it lacks.

uvicorn sets no deadline for receiving a request, and with httptools no limit to its head; it
accepts HTTP/0.9 and requests with no or several Host fields.
"""

import asyncio
from enum import Enum, auto
from typing import Any, Final, NamedTuple, NoReturn

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from api.answers import Answer, problem
from api.asgi import Headers, QuickApplication
from api.connections import Connections
from api.outflow import Outflow

_VERSIONS: Final = ("1.1", "1.0")
_FIELD_OVERHEAD: Final = 4  # ": " and the line's end
_OK: Final = 200


class State(ServerState):
    """What the connections of one server share.

    Args:
        places: who has a connection, and the limits.
        app: the application, which can answer some requests at once.

    Attributes:
        now: the loop's clock at the last tick, seconds.
        ok_head: all but the length of the head of a good answer that is sent at once.
        empty: set when the last connection closes.
        is_stopping: who comes now is refused: what would answer is being closed.
    """

    def __init__(self, places: Connections, app: QuickApplication) -> None:
        super().__init__()
        self.app = app
        self.places = places
        self.empty = asyncio.Event()
        self.is_stopping = False
        self.now = 0.0
        self.ok_head = b""

    @property
    def tick_seconds(self) -> float:
        """How often deadlines are looked at."""
        return min(1.0, self.places.limits.receive_seconds / 10)

    def tick(self, now: float, date: str) -> None:
        """Close the connections whose time is up.

        Args:
            now: of the loop's clock, seconds.
            date: for the field of that name.
        """
        self.now = now
        self.default_headers = [(b"date", date.encode())]
        self.ok_head = _head(Answer(b""), self.default_headers)
        self.places.check(now)


class _Stage(Enum):
    IDLE = auto()
    """Between requests; nothing of the next has come."""
    HEAD = auto()
    """From the connection's opening or a request's first byte to the end of its head."""
    BODY = auto()
    """The head is complete, the body is not."""
    REFUSED = auto()
    """Nothing more is read."""


class _Refusal(NamedTuple):
    status: int
    error: str
    detail: str


class _RefusedError(Exception):
    """Carries the refusal of a request out of the parser."""

    def __init__(self, refusal: _Refusal) -> None:
        self.refusal = refusal


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    server_state: State

    def __init__(
        self,
        config: Config,
        server_state: State,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.access_log = config.access_log
        self.address = ""
        self.served = 0
        self._limits = server_state.places.limits
        self._stage = _Stage.HEAD
        self._since = server_state.now
        self._fed = 0  # bytes since the last request ended
        self._chunk = 0  # bytes of the read that is being parsed
        self._body_bytes = 0  # of the body, in this window of time
        self._gap = 0  # bytes without any of the body
        self.outflow = Outflow(self._limits, server_state.now)
        self._quick: Answer | None = None
        self._unanswered = 0  # requests handed to the application

    @property
    def is_waiting(self) -> bool:
        """Whether it owes nobody an answer."""
        return not self._unanswered

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take a place among the connections, or refuse."""
        super().connection_made(transport)
        self._since = self.outflow.since = self.loop.time()
        self.address = self.client[0] if self.client else ""
        if self.server_state.is_stopping:
            self._refuse(_Refusal(503, "stopping", "the server stops; come again"))
        elif not self.server_state.places.admit(self):
            self._refuse(_Refusal(503, "too_many_connections", "too many open connections"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._stage = _Stage.REFUSED
        self.server_state.places.discard(self)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if not self.connections:
            self.server_state.empty.set()

    def pause_writing(self) -> None:
        """Write no more for now: the client takes less than is sent."""
        super().pause_writing()
        self.outflow.unsent = self.transport.get_write_buffer_size()
        self.outflow.progress(self.server_state.now)
        self.server_state.places.relieve()

    def resume_writing(self) -> None:
        """Go on: the client has taken most of what was sent."""
        super().resume_writing()
        self.outflow.progress(self.server_state.now)

    def give_way(self) -> None:
        """Close at once."""
        self._stage = _Stage.REFUSED
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._stage is _Stage.REFUSED:
            return
        self._unset_keepalive_if_required()
        if self._stage is _Stage.IDLE:
            self._stage = _Stage.HEAD
            self._since = self.server_state.now
        self._chunk = len(data)
        self._fed += self._chunk
        self._gap += self._chunk
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end_after_answer()
        except httptools.HttpParserError as error:
            self._refuse(_refusal_of(error))
        else:
            self._limit_unparsed()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        if self._stage is _Stage.IDLE:
            self._stage = _Stage.HEAD
            self._since = self.server_state.now

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those after a body are dropped, as nobody asks for them."""
        if self._stage is not _Stage.BODY:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the head, then have the request answered."""
        self._check_head()
        self._quick = self._quick_answer()
        if self._quick is None:
            super().on_headers_complete()
            self._unanswered += 1
        self._stage = _Stage.BODY
        self._since = self.server_state.now
        self._body_bytes = self._gap = 0

    def on_body(self, body: bytes) -> None:
        """Hand on a part of the body."""
        self._body_bytes += len(body)
        self._gap = 0
        if self._quick is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Get ready for the next request."""
        self._stage = _Stage.IDLE
        self._fed = self._gap = 0
        self.served += 1
        if self._quick is None:
            super().on_message_complete()
        else:
            self._send_quick(self._quick)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._unanswered -= 1
        super().on_response_complete()
        self._since = self.server_state.now

    def check(self, now: float) -> None:
        """Close if its time is up.

        Args:
            now: of the loop's clock, seconds.
        """
        if self.outflow.is_stuck(self.transport.get_write_buffer_size(), now):
            self.give_way()
            return
        waited = now - self._since
        if self._stage is _Stage.IDLE:
            if waited >= self._limits.keep_alive_seconds and not self._unanswered:
                self.give_way()
        # What is late by the next tick is late now: the deadline is never overrun.
        elif (
            self._stage is not _Stage.REFUSED
            and waited >= self._limits.receive_seconds - self.server_state.tick_seconds
        ):
            self._check_progress(now)

    def _check_progress(self, now: float) -> None:
        """Refuse a request that does not come, unless it is the server that keeps it waiting."""
        is_invited = not (self._unanswered and self.cycle.waiting_for_100_continue)
        is_enough = (
            self._stage is _Stage.BODY and self._body_bytes >= self._limits.progress_bytes_min
        )
        if is_invited and not is_enough and not self.flow.read_paused:
            self._refuse_late()
        self._since = now
        self._body_bytes = 0

    def _refuse_late(self) -> None:
        if self._fed == 0 and self.served == 0:
            self.give_way()  # it never said a word, so it gets none
        else:
            self._refuse(_Refusal(408, "timeout", "the request did not come in time"))

    def _check_head(self) -> None:
        """Refuse what the parser lets through.

        Raises:
            _RefusedError: with the answer.
        """
        version = self.parser.get_http_version()
        if version not in _VERSIONS:
            _refuse_head(400, "bad_request", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):
            _refuse_head(400, "bad_request", "there must be exactly one Host field")
        if not self.url.startswith(b"/") and _authority(self.url) not in hosts:
            _refuse_head(400, "bad_request", "the request's target and its Host field differ")
        limit = self._limits.header_bytes_max
        if max(self._fed, self._chunk) > limit and self._head_bytes() > limit:
            _refuse_head(431, "header_too_large", f"more than {limit} bytes of header")
        if len(self.pipeline) >= self._limits.pipeline_max:
            _refuse_head(429, "too_many_requests", "too many requests wait on this connection")

    def _head_bytes(self) -> int:
        fields = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in self.headers)
        return len(self.url) + fields

    def _limit_unparsed(self) -> None:
        """Refuse a head that does not end, and framing or trailers that bring no body."""
        limit = self._limits.header_bytes_max
        if self._stage is _Stage.BODY:
            if self._gap > limit:
                self._refuse(_Refusal(400, "bad_request", "too much that is no body"))
        elif self._fed > limit:
            self._refuse(_Refusal(431, "header_too_large", f"more than {limit} bytes of header"))

    def _refuse(self, refusal: _Refusal) -> None:
        """Read nothing more, answer if it is this request's turn, and close."""
        in_body = self._stage is _Stage.BODY
        self._stage = _Stage.REFUSED
        if not in_body and self._unanswered:
            self.cycle.keep_alive = False  # those before are answered, then uvicorn closes
            return
        if in_body and self.pipeline:
            self.transport.abort()  # not its turn, and its turn must not come
            return
        if in_body and self._quick is None:
            is_answered = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if is_answered:
                self.transport.abort()
                return
        answer = problem(*refusal, log_id=self.server_state.app.log_id)
        head = _head(answer, [*self.server_state.default_headers, (b"connection", b"close")])
        self.transport.write(_message(head, answer.body))
        self.transport.close()

    def _end_after_answer(self) -> None:
        """Ignore a wish to speak another protocol, and all that follows it."""
        self._stage = _Stage.REFUSED
        if self._unanswered:
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _quick_answer(self) -> Answer | None:
        """Return the answer to a plain GET whose turn it is, or None if uvicorn must see it."""
        if self.parser.get_method() != b"GET" or not self._may_be_quick():
            return None
        path, _, query = self.url.partition(b"?")
        return self.server_state.app.quick(path, query, self.headers)

    def _may_be_quick(self) -> bool:
        """Say whether it is this request's turn, and nothing about its connection is special."""
        return not (
            self._unanswered
            or self.access_log
            or self.flow.write_paused
            or not self.parser.should_keep_alive()
            or self.parser.should_upgrade()
            or self.parser.get_http_version() != "1.1"
        )

    def _send_quick(self, answer: Answer) -> None:
        """Send an answer in one piece, without a task, and wait for the next request."""
        state = self.server_state
        state.total_requests += 1
        is_plain = answer.status == _OK and not answer.headers
        head = state.ok_head if is_plain else _head(answer, state.default_headers)
        self.transport.write(_message(head, answer.body))
        self._since = state.now


def _head(answer: Answer, common: Headers) -> bytes:
    """Return the head of an answer, but for its length."""
    fields = [*common, (b"content-type", answer.media.encode())]
    fields += [(name.encode(), value.encode()) for name, value in answer.headers]
    lines = [b"%b: %b\r\n" % field for field in fields]
    return STATUS_LINE[answer.status] + b"".join(lines)


def _message(head: bytes, body: bytes) -> bytes:
    return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


def _authority(url: bytes) -> bytes:
    """Return host and port of a target in absolute form (RFC 9112, 3.2.2)."""
    return url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0]


def _refusal_of(error: httptools.HttpParserError) -> _Refusal:
    """Return the refusal of what the parser, or a check called by it, refused."""
    if isinstance(error.__context__, _RefusedError):
        return error.__context__.refusal
    return _Refusal(400, "bad_request", "this is no valid HTTP request")


def _refuse_head(status: int, error: str, detail: str) -> NoReturn:
    raise _RefusedError(_Refusal(status, error, detail))
