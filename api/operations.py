"""What the machinery around the server asks: is it alive, is it ready, how does it do."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, Router, get
from litestar.datastructures import State as RequestState
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from api.answers import Answer
from api.encode import to_json
from api.guard import ANONYMOUS
from api.routes import refuse_options, to_response
from api.status import Health
from api.wire import Problem

RETRY_SECONDS: Final = "2"
"""When a probe may hope for another answer."""

_MISDIRECTED = ResponseSpec(
    Problem, generate_examples=False, description="The Host header names another server."
)
_UNAUTHORIZED = ResponseSpec(
    Problem, generate_examples=False, description="The server wants a bearer token."
)


class Live(msgspec.Struct, frozen=True):
    """Whether the process should go on.

    Attributes:
        status: `alive` or `failed`.
        reason: why it failed.
    """

    status: str
    reason: str


class Ready(msgspec.Struct, frozen=True):
    """Whether clients should be sent here.

    Attributes:
        status: `ready` or `not_ready`.
        reason: why not.
        roots_offline: how many roots cannot be read.
        offline: their names, unless a token is configured and the request does not carry it.
    """

    status: str
    reason: str
    roots_offline: int
    offline: Sequence[str]


class Operations(NamedTuple):
    """What is asked here.

    Attributes:
        health: asked for every probe, on the event loop's thread; must wait for nothing.
        collectors: of metrics, asked in a thread; they must not read the database.
    """

    health: Callable[[], Health]
    collectors: Sequence[Collector] = ()


def live(health: Health) -> Answer:
    """Answer whether the process should go on, or be restarted."""
    if health.failure:
        return Answer(to_json(Live("failed", health.failure)), 503)
    return Answer(to_json(Live("alive", "")))


def ready(health: Health, *, named: bool) -> Answer:
    """Answer whether clients should be sent here.

    An absent disk is no reason against it: what is known of it is served, and is what clients want.

    Args:
        health: how the server is.
        named: whether the names of roots may be told.
    """
    reason = health.failure or health.waiting_for
    names = health.offline if named else ()
    body = Ready("not_ready" if reason else "ready", reason, len(health.offline), names)
    if reason:
        return Answer(to_json(body), 503, (("retry-after", RETRY_SECONDS),))
    return Answer(to_json(body))


def _unfit(container: type) -> ResponseSpec:
    return ResponseSpec(container, generate_examples=False, description="It is not; see reason.")


def operations_router(operations: Operations, registry: CollectorRegistry) -> Router:
    """Return the routes.

    Args:
        operations: what is asked.
        registry: of all metrics.
    """

    @get(
        "/health/live",
        operation_id="live",
        responses={421: _MISDIRECTED, 503: _unfit(Live)},
        summary="Whether the process should go on; needs no token",
    )
    async def health_live() -> Response[Live]:
        return to_response(live(operations.health()))

    @get(
        "/health/ready",
        operation_id="ready",
        responses={421: _MISDIRECTED, 503: _unfit(Ready)},
        summary="Whether the feed answers; needs no token",
    )
    async def health_ready(request: Request[Any, Any, RequestState]) -> Response[Ready]:
        named = ANONYMOUS not in request.scope
        return to_response(ready(operations.health(), named=named))

    @get(
        "/metrics",
        operation_id="metrics",
        responses={401: _UNAUTHORIZED, 421: _MISDIRECTED},
        media_type="text/plain",
        summary="Metrics for Prometheus, as text or OpenMetrics",
    )
    async def metrics(request: Request[Any, Any, RequestState]) -> Response[bytes]:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        text = await asyncio.to_thread(encode, registry)
        return Response(text, media_type=content_type)

    handlers = [health_live, health_ready, metrics]
    return Router("/", route_handlers=handlers, before_request=refuse_options)
