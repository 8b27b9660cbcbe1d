"""The routes of nodes, now and then, and their description."""

from dataclasses import dataclass

from litestar import Response, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import OpenAPIType, Operation, Parameter, Schema

from api.past import PastFace
from api.past_wire import Children, GoneNode, LiveNode, NodeHistory, NotCovered
from api.query import PAGE_DEFAULT, PAGE_MAX
from api.routes import PREFIX, READY, AnyRequest, refuse_options, spec, to_response
from api.wire import Problem

AT = Parameter(
    "at",
    "query",
    Schema(type=OpenAPIType.STRING),
    description=(
        "As of when: a position of the log, or a time of RFC 3339 and what was before it;"
        " without it, now."
    ),
)
_MAX_SIZE = Parameter(
    "max_size",
    "query",
    # A wish, so no value is an error; a schema with bounds would not be true.
    Schema(type=OpenAPIType.STRING, default=str(PAGE_DEFAULT)),
    description=f"The most entries in the answer, 1 to {PAGE_MAX}.",
)


def _text(name: str, description: str) -> Parameter:
    return Parameter(name, "query", Schema(type=OpenAPIType.STRING), description=description)


@dataclass
class NodeOperation(Operation):
    """Describes the parameters of a node, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [*(self.parameters or ()), AT]


@dataclass
class PathOperation(Operation):
    """Describes the parameters of a path, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        self.parameters = [
            _text("path", "Absolute path; its bytes are percent-encoded, UTF-8 or not."),
            _text("path_raw", "The same in base64, in place of it."),
            AT,
        ]


@dataclass
class ChildrenOperation(Operation):
    """Describes the parameters of children, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        after = _text("after", "What `after` was in the page before; opaque.")
        self.parameters = [*(self.parameters or ()), AT, after, _MAX_SIZE]


@dataclass
class HistoryOperation(Operation):
    """Describes the parameters of a history, which are read from the raw query string."""

    def __post_init__(self) -> None:
        """Add the parameters."""
        after = _text("after", "What `after` was in the page before: a position.")
        self.parameters = [*(self.parameters or ()), after, _MAX_SIZE]


_MALFORMED = spec(Problem, "A parameter is malformed or given more than once.")
_UNKNOWN = spec(Problem, "There is no such node, or there was none yet.")
_NOT_COVERED = spec(NotCovered, "The log does not go back, or ahead, so far.")


def past_router(past: PastFace) -> Router:
    """Return the routes.

    Args:
        past: answers the requests.
    """
    handlers = [*_single(past), *_pages(past)]
    return Router(f"{PREFIX}/nodes", route_handlers=handlers, before_request=refuse_options)


def _single(past: PastFace) -> list[HTTPRouteHandler]:
    @get(
        "/by-path",
        operation_id="nodeByPath",
        operation_class=PathOperation,
        responses={400: _MALFORMED, 404: _UNKNOWN, 410: _NOT_COVERED, **READY},
        summary="The node at a path of the server's disk",
    )
    async def by_path(request: AnyRequest) -> Response[LiveNode]:
        return to_response(await past.by_path(request.scope["query_string"]))

    @get(
        "/{node_id:str}",
        operation_id="node",
        operation_class=NodeOperation,
        responses={400: _MALFORMED, 404: _UNKNOWN, 410: _NOT_COVERED, **READY},
        summary="A node, or its tombstone",
    )
    async def node(request: AnyRequest) -> Response[LiveNode | GoneNode]:
        return to_response(await past.node(*_asked(request)))

    return [by_path, node]


def _pages(past: PastFace) -> list[HTTPRouteHandler]:
    @get(
        "/{node_id:str}/children",
        operation_id="children",
        operation_class=ChildrenOperation,
        responses={
            400: spec(Problem, "A parameter is malformed, or the node is no directory."),
            404: spec(Problem, "There is no such node, there was none yet, or it was removed."),
            410: _NOT_COVERED,
            **READY,
        },
        summary="What is, or was, in a directory",
        description=(
            "In order of the names' bytes. The children of the super-root are the roots."
            " Repeat `at` for each page."
        ),
    )
    async def children(request: AnyRequest) -> Response[Children]:
        return to_response(await past.children(*_asked(request)))

    @get(
        "/{node_id:str}/history",
        operation_id="history",
        operation_class=HistoryOperation,
        responses={400: _MALFORMED, 404: spec(Problem, "There never was such a node."), **READY},
        summary="What happened to a node, the oldest first",
        description="Up to the position `earliest`, only the last event is left.",
    )
    async def history(request: AnyRequest) -> Response[NodeHistory]:
        return to_response(await past.history(*_asked(request)))

    return [children, history]


def _asked(request: AnyRequest) -> tuple[str, bytes]:
    return request.path_params["node_id"], request.scope["query_string"]
