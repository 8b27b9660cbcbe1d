"""The feed's routes and their description: what OpenAPI says is made here and nowhere else."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import UnionType
from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response, Router, get
from litestar.datastructures import State as RequestState
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec

from api import bootstrap
from api.answers import JSON_TYPE, METHODS, Answer, failure, problem
from api.asgi import Application
from api.barrier import BarrierFace
from api.encode import to_json
from api.feed import Feed
from api.parameters import (
    ChangesOperation,
    CursorOperation,
    SnapshotOperation,
    StreamOperation,
)
from api.past import PastFace
from api.past_query import Parameters
from api.past_wire import NotCovered
from api.ports import AskStatus
from api.status import Status
from api.stream import Form
from api.wire import Changes, Cursor, Gone, NodePath, NotReady, NotSynced, Problem, Root, Synced

if TYPE_CHECKING:
    from api.asgi import Receive

PREFIX = "/api/v1"

AnyRequest = Request[Any, Any, RequestState]


def spec(container: type | UnionType, description: str) -> ResponseSpec:
    """Describe an answer."""
    return ResponseSpec(cast("type", container), generate_examples=False, description=description)


_NOT_READY = spec(
    NotReady | Problem,
    "The very first scan is not complete, or the log cannot be read now; see Retry-After.",
)
ALWAYS = {
    401: spec(Problem, "The server wants a bearer token, and this is not it."),
    405: spec(Problem, "Another method than GET and HEAD."),
    408: spec(Problem, "The request did not come whole in time."),
    421: spec(Problem, "The Host header names another server."),
    431: spec(Problem, "The request line and header fields are too long."),
}
READY = {503: _NOT_READY, **ALWAYS}
_NO_FILTER = spec(Problem, "The filter names a root or directory that there is not.")
_STREAM = ResponseSpec(
    str,
    media_type=Form.EVENTS.value,
    generate_examples=False,
    description=(
        "Events `changes` (an answer of /changes), `caught_up` and `heartbeat` (an answer of"
        " /cursor) and `reset` (the 410 of /changes: drop what you have; the stream goes on from"
        " cursor 0). The id of each is the cursor to go on from. With"
        f" `Accept: {Form.LINES.value}` each is a line of JSON, with its name in `event`."
    ),
)
_SNAPSHOT = ResponseSpec(
    str,
    media_type=bootstrap.CONTENT_TYPE,
    generate_examples=False,
    description=(
        "Lines of JSON: first `log_id` and `cursor`; then changes as in an answer of /changes,"
        " parents before children, as of that cursor; last `log_id`, `cursor` and `count`, the"
        " number of changes. An answer without its last line was cut off. To go on, ask /changes"
        " with the cursor."
    ),
)
_WAITING = {
    503: spec(NotReady | Problem, "As always, or too many clients wait; see Retry-After."),
    **ALWAYS,
}


def to_response(answer: Answer) -> Response[Any]:
    """Turn an answer into the framework's response."""
    return Response(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type=JSON_TYPE,
    )


class _Handover(Response[Any]):
    """Hands the request over to an application that answers it bit by bit."""

    def __init__(self, app: Application) -> None:
        super().__init__(None)
        self._app = app

    def to_asgi_response(self, *_: object, **__: object) -> Application:  # type: ignore[override]  # ASGI
        """Return what answers."""
        return self._app


def _handed_over(answer: Answer | Application) -> Response[Any]:
    return to_response(answer) if isinstance(answer, Answer) else _Handover(answer)


def preferred_form(accepted: list[str]) -> Form:
    """Return how a stream is written: as server-sent events, unless only lines are named.

    Args:
        accepted: the fields `Accept` of the request.
    """
    names = {each.partition(";")[0].strip().lower() for each in ",".join(accepted).split(",")}
    is_lines = Form.LINES.value in names and Form.EVENTS.value not in names
    return Form.LINES if is_lines else Form.EVENTS


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer with JSON when the framework itself refuses a request."""
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return _method_not_allowed(request)
    detail = "there is nothing here" if status is HTTPStatus.NOT_FOUND else error.detail
    return to_response(problem(status, status.name.lower(), detail, log_id=_log_id(request)))


def on_failure(request: AnyRequest, error: Exception) -> Response[Any]:
    """Answer with JSON, and log the details, when something went wrong that should not."""
    what = f"{request.method} {request.scope['path']!r}"
    return to_response(failure(what, error, _log_id(request)))


def refuse_options(request: AnyRequest) -> Response[Any] | None:
    """Refuse OPTIONS, which the framework would answer, as the seed's server does."""
    return _method_not_allowed(request) if request.method == "OPTIONS" else None


def _method_not_allowed(request: AnyRequest) -> Response[Any]:
    detail = f"only {METHODS} are offered here"
    allow = (("allow", METHODS),)
    return to_response(problem(405, "method_not_allowed", detail, allow, _log_id(request)))


def _log_id(request: AnyRequest) -> str:
    log_id: str = request.app.state.log_id
    return log_id


def _cursor(feed: Feed, past: PastFace, barrier: BarrierFace) -> HTTPRouteHandler:
    @get(
        "/cursor",
        operation_id="cursor",
        operation_class=CursorOperation,
        responses={
            400: spec(Problem, "What `at` or `sync` holds is no time."),
            410: spec(NotCovered, "The log no longer knows a cursor of that time."),
            504: spec(NotSynced, "The barrier was not reached in time."),
            **_WAITING,
        },
        summary="Where the log ends now, or ended before a time",
    )
    async def cursor(request: AnyRequest) -> Response[Cursor | Synced]:
        query = request.scope["query_string"]
        if b"sync=" in query:
            receive = cast("Receive", request.receive)
            return to_response(await barrier.cursor(query, receive))
        if Parameters(query).is_past:
            return to_response(await past.cursor(query))
        return to_response(feed.cursor())

    return cursor


def _change_handlers(feed: Feed) -> list[Any]:
    @get(
        "/changes",
        operation_id="changes",
        operation_class=ChangesOperation,
        responses={
            400: spec(Problem, "A parameter is malformed or given more than once."),
            404: _NO_FILTER,
            410: spec(Gone, "The cursor cannot be honoured; begin again at cursor 0."),
            **_WAITING,
        },
        summary="What has changed since a cursor",
        description=(
            "Each node comes at most once, with its last state, in the order of its last change;"
            " a parent may come after its child. Send the answer's cursor to go on."
        ),
    )
    async def changes(request: AnyRequest) -> Response[Changes]:
        log_ids = request.headers.getall("x-log-id", [])
        query = request.scope["query_string"]
        receive = cast("Receive", request.receive)
        return _handed_over(await feed.changes(query, log_ids, receive))

    @get(
        "/changes/stream",
        operation_id="stream",
        operation_class=StreamOperation,
        responses={
            200: _STREAM,
            400: spec(Problem, "A parameter is malformed."),
            404: _NO_FILTER,
            **_WAITING,
        },
        summary="Changes as they happen",
        description="The first events bring what is after the cursor, the next what happens then.",
    )
    async def stream(request: AnyRequest) -> Response[Any]:
        answer = await feed.stream(
            request.scope["query_string"],
            request.headers.getall("x-log-id", []),
            request.headers.get("last-event-id"),
            preferred_form(request.headers.getall("accept", [])),
        )
        return _handed_over(answer)

    return [changes, stream]


def _snapshot(feed: Feed, snapshots: bootstrap.Snapshots) -> HTTPRouteHandler:
    @get(
        "/snapshot",
        operation_id="snapshot",
        operation_class=SnapshotOperation,
        responses={
            200: _SNAPSHOT,
            400: spec(Problem, "A filter is malformed."),
            404: _NO_FILTER,
            503: spec(NotReady | Problem, "As always, or too many are sent; see Retry-After."),
            **ALWAYS,
        },
        summary="The whole tree at once",
    )
    async def snapshot(request: AnyRequest) -> Response[Any]:
        wanted = await feed.filter(request.scope["query_string"])
        if isinstance(wanted, Answer):
            return to_response(wanted)
        return _Handover(bootstrap.SnapshotStream(snapshots, wanted))

    return snapshot


def feed_router(
    feed: Feed,
    past: PastFace,
    barrier: BarrierFace,
    snapshots: bootstrap.Snapshots,
    ask_status: AskStatus,
) -> Router:
    """Return the feed's routes.

    Args:
        feed: answers the requests.
        past: answers those about a time.
        barrier: answers those that wait for the roots to catch up.
        snapshots: answers those for the whole tree.
        ask_status: asked in a thread for every status request.
    """

    @get("/root", operation_id="root", responses=READY, summary="The parent of all roots")
    async def root() -> Response[Root]:
        return to_response(feed.root())

    @get(
        "/nodes/{node_id:str}/path",
        operation_id="path",
        responses={
            400: spec(Problem, "The super-root has no path."),
            404: spec(Problem, "There is no node with this id."),
            **READY,
        },
        summary="Where a node is on the server's disk",
    )
    async def path(request: AnyRequest) -> Response[NodePath]:
        return to_response(feed.path(request.path_params["node_id"]))

    @get(
        "/status",
        operation_id="status",
        responses={503: spec(Problem, "The log cannot be read now; see Retry-After."), **ALWAYS},
        summary="How the server is",
    )
    async def status() -> Response[Status]:
        return to_response(Answer(to_json(await asyncio.to_thread(ask_status))))

    whole = _snapshot(feed, snapshots)
    handlers = [_cursor(feed, past, barrier), *_change_handlers(feed), whole, root, path, status]
    return Router(PREFIX, route_handlers=handlers, before_request=refuse_options)


HANDLERS: Mapping[int | type[Exception], Any] = {
    HTTPException: on_http_error,
    Exception: on_failure,
}
"""Which function answers for which exception."""
