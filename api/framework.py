"""Puts the routes into the web framework. `api.app` imports it late: see `api.late`."""

from typing import Any

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from prometheus_client import CollectorRegistry

from api.app import Answering, Dependencies
from api.description import Description
from api.operations import Operations
from api.operations_routes import operations_router
from api.past_routes import past_router
from api.routes import HANDLERS, feed_router

TITLE = "nasfeed"


def make_litestar(
    answering: Answering,
    dependencies: Dependencies,
    registry: CollectorRegistry,
    *,
    needs_token: bool,
) -> Litestar:
    """Return the application of all routes.

    Args:
        answering: answer.
        dependencies: of the whole application.
        registry: of the metrics.
        needs_token: whether the description shall say that requests need one.
    """
    feed, past, barrier, snapshots = answering
    return Litestar(
        route_handlers=[
            feed_router(feed, past, barrier, snapshots, dependencies.status),
            past_router(past),
            *_operations(dependencies.operations, registry),
        ],
        openapi_config=_openapi(dependencies.version, needs_token=needs_token),
        exception_handlers=dict(HANDLERS),
        logging_config=None,
        state=State({"log_id": feed.log_id}),
    )


def _operations(operations: Operations | None, registry: CollectorRegistry) -> list[Router]:
    return [operations_router(operations, registry)] if operations else []


def _openapi(version: str, *, needs_token: bool) -> OpenAPIConfig:
    settings: dict[str, Any] = {}
    if needs_token:
        scheme = SecurityScheme(type="http", scheme="bearer")
        settings["components"] = Components(security_schemes={"token": scheme})
        settings["security"] = [{"token": []}]
    return OpenAPIConfig(
        title=TITLE,
        version=version,
        description="What has changed on the disks of a NAS, in order, from any point on.",
        path="/schema",
        # The pages of the other renderers load scripts from elsewhere.
        render_plugins=[Description()],
        **settings,
    )
