"""The routes of what the machinery around the server asks: `api.operations`, and metrics."""

import asyncio
from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State as RequestState
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from api.guard import ANONYMOUS
from api.operations import Live, Operations, Ready, live, ready
from api.routes import refuse_options, to_response
from api.wire import Problem

_MISDIRECTED = ResponseSpec(
    Problem, generate_examples=False, description="The Host header names another server."
)
_UNAUTHORIZED = ResponseSpec(
    Problem, generate_examples=False, description="The server wants a bearer token."
)


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
