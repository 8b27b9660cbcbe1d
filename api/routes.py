"""The feed's routes and their description: what OpenAPI says is made here and nowhere else."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State as RequestState
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema

from api.answers import JSON_TYPE, METHODS, Answer, failure, problem
from api.encode import to_json
from api.feed import Feed
from api.past import PastFace
from api.past_query import Parameters
from api.past_wire import NotCovered
from api.ports import AskStatus
from api.query import CURSOR_MAX, PAGE_DEFAULT, PAGE_MAX
from api.status import Status
from api.wire import Changes, Cursor, Gone, NodePath, NotReady, Problem, Root

PREFIX = "/api/v1"

AnyRequest = Request[Any, Any, RequestState]


def spec(container: type, description: str) -> ResponseSpec:
    """Describe an answer."""
    return ResponseSpec(container, generate_examples=False, description=description)


_NOT_READY = spec(NotReady, "The very first scan is not complete; see Retry-After.")
ALWAYS = {
    401: spec(Problem, "The server wants a bearer token, and this is not it."),
    405: spec(Problem, "Another method than GET and HEAD."),
    408: spec(Problem, "The request did not come whole in time."),
    421: spec(Problem, "The Host header names another server."),
    431: spec(Problem, "The request line and header fields are too long."),
}
READY = {503: _NOT_READY, **ALWAYS}


@dataclass
class CursorOperation(Operation):
    """Describes the parameters of the cursor, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [
            Parameter(
                "at",
                "query",
                Schema(type=OpenAPIType.STRING),
                description=(
                    "A time of RFC 3339: the last position strictly before it is answered."
                    " Nothing since then is missed from there on; something may come again."
                ),
            )
        ]


@dataclass
class ChangesOperation(Operation):
    """Describes the parameters of changes, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters: the framework's own checks are laxer than the feed's."""
        self.parameters = [
            Parameter(
                "cursor",
                "query",
                Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=CURSOR_MAX, default=0),
                description="Position after which changes are wanted, from an earlier answer.",
            ),
            Parameter(
                "max_size",
                "query",
                # A wish, so no value is an error; a schema with bounds would not be true.
                Schema(type=OpenAPIType.STRING, default=str(PAGE_DEFAULT)),
                description=(
                    f"The most changes in the answer, 1 to {PAGE_MAX}. More gives {PAGE_MAX};"
                    f" what is no positive integer gives {PAGE_DEFAULT}."
                ),
            ),
            Parameter(
                "log_id",
                "query",
                Schema(type=OpenAPIType.STRING),
                description="Epoch that the cursor is of; another one than the log's gives 410.",
            ),
            Parameter(
                "X-Log-Id",
                "header",
                Schema(type=OpenAPIType.STRING),
                description="The same as the parameter `log_id`.",
            ),
        ]


def to_response(answer: Answer) -> Response[Any]:
    """Turn an answer into the framework's response."""
    return Response(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type=JSON_TYPE,
    )


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


def _cursor(feed: Feed, past: PastFace) -> HTTPRouteHandler:
    @get(
        "/cursor",
        operation_id="cursor",
        operation_class=CursorOperation,
        responses={
            400: spec(Problem, "What `at` holds is no time."),
            410: spec(NotCovered, "The log no longer knows a cursor of that time."),
            **READY,
        },
        summary="Where the log ends now, or ended before a time",
    )
    async def cursor(request: AnyRequest) -> Response[Cursor]:
        query = request.scope["query_string"]
        if Parameters(query).is_past:
            return to_response(await past.cursor(query))
        return to_response(feed.cursor())

    return cursor


def feed_router(feed: Feed, past: PastFace, ask_status: AskStatus) -> Router:
    """Return the feed's routes.

    Args:
        feed: answers the requests.
        past: answers those about a time.
        ask_status: asked in a thread for every status request.
    """

    @get(
        "/changes",
        operation_id="changes",
        operation_class=ChangesOperation,
        responses={
            400: spec(Problem, "The cursor is malformed or given more than once."),
            410: spec(Gone, "The cursor cannot be honoured; begin again at cursor 0."),
            **READY,
        },
        summary="What has changed since a cursor",
        description=(
            "Each node comes at most once, with its last state, in the order of its last change;"
            " a parent may come after its child. Send the answer's cursor to go on."
        ),
    )
    async def changes(request: AnyRequest) -> Response[Changes]:
        log_ids = request.headers.getall("x-log-id", [])
        return to_response(await feed.changes(request.scope["query_string"], log_ids))

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

    @get("/status", operation_id="status", responses=ALWAYS, summary="How the server is")
    async def status() -> Response[Status]:
        return to_response(Answer(to_json(await asyncio.to_thread(ask_status))))

    handlers = [_cursor(feed, past), changes, root, path, status]
    return Router(PREFIX, route_handlers=handlers, before_request=refuse_options)


HANDLERS: Mapping[int | type[Exception], Any] = {
    HTTPException: on_http_error,
    Exception: on_failure,
}
"""Which function answers for which exception."""
