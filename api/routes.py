"""The feed's routes and their description: what OpenAPI says is made here and nowhere else."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State as RequestState
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema

from api.answers import JSON_TYPE, METHODS, Answer, failure, problem
from api.encode import to_json
from api.feed import Feed
from api.ports import AskStatus
from api.query import CURSOR_MAX, PAGE_DEFAULT, PAGE_MAX
from api.status import Status
from api.wire import Changes, Cursor, Gone, NodePath, NotReady, Problem, Root

PREFIX = "/api/v1"

AnyRequest = Request[Any, Any, RequestState]


def _spec(container: type, description: str) -> ResponseSpec:
    return ResponseSpec(container, generate_examples=False, description=description)


_NOT_READY = _spec(NotReady, "The very first scan is not complete; see Retry-After.")
_ALWAYS = {
    401: _spec(Problem, "The server wants a bearer token, and this is not it."),
    421: _spec(Problem, "The Host header names another server."),
}
_READY = {503: _NOT_READY, **_ALWAYS}


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


def on_http_error(_: AnyRequest, error: HTTPException) -> Response[Any]:
    """Answer with JSON when the framework itself refuses a request."""
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        return _method_not_allowed()
    detail = "there is nothing here" if status is HTTPStatus.NOT_FOUND else error.detail
    return to_response(problem(status, status.name.lower(), detail))


def on_failure(request: AnyRequest, error: Exception) -> Response[Any]:
    """Answer with JSON, and log the details, when something went wrong that should not."""
    return to_response(failure(f"{request.method} {request.scope['path']!r}", error))


def refuse_options(request: AnyRequest) -> Response[Any] | None:
    """Refuse OPTIONS, which the framework would answer, as the seed's server does."""
    return _method_not_allowed() if request.method == "OPTIONS" else None


def _method_not_allowed() -> Response[Any]:
    detail = f"only {METHODS} are offered here"
    return to_response(problem(405, "method_not_allowed", detail, (("allow", METHODS),)))


def feed_router(feed: Feed, ask_status: AskStatus) -> Router:
    """Return the feed's routes.

    Args:
        feed: answers the requests.
        ask_status: asked in a thread for every status request.
    """

    @get("/cursor", operation_id="cursor", responses=_READY, summary="Where the log ends now")
    async def cursor() -> Response[Cursor]:
        return to_response(feed.cursor())

    @get(
        "/changes",
        operation_id="changes",
        operation_class=ChangesOperation,
        responses={
            400: _spec(Problem, "The cursor is malformed or given more than once."),
            410: _spec(Gone, "The cursor cannot be honoured; begin again at cursor 0."),
            **_READY,
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

    @get("/root", operation_id="root", responses=_READY, summary="The parent of all roots")
    async def root() -> Response[Root]:
        return to_response(feed.root())

    @get(
        "/nodes/{node_id:str}/path",
        operation_id="path",
        responses={
            400: _spec(Problem, "The super-root has no path."),
            404: _spec(Problem, "There is no node with this id."),
            **_READY,
        },
        summary="Where a node is on the server's disk",
    )
    async def path(request: AnyRequest) -> Response[NodePath]:
        return to_response(feed.path(request.path_params["node_id"]))

    @get("/status", operation_id="status", responses=_ALWAYS, summary="How the server is")
    async def status() -> Response[Status]:
        return to_response(Answer(to_json(await asyncio.to_thread(ask_status))))

    handlers = [cursor, changes, root, path, status]
    return Router(PREFIX, route_handlers=handlers, before_request=refuse_options)


HANDLERS: Mapping[int | type[Exception], Any] = {
    HTTPException: on_http_error,
    Exception: on_failure,
}
"""Which function answers for which exception."""
