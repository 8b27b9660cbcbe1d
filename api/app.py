"""The whole application: guard, front, routes. It constructs nothing that lies below the API."""

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import msgspec
from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme
from prometheus_client import CollectorRegistry, ProcessCollector

from api.barrier import BarrierFace
from api.bootstrap import Snapshots
from api.description import Description
from api.feed import Feed
from api.front import Front
from api.guard import Guard, machine_names
from api.limits import Delivery
from api.metering import Meter
from api.operations import Operations, operations_router
from api.past import PastFace
from api.past_routes import past_router
from api.ports import AskReadiness, AskStatus, BeginSync, FeedLog
from api.routes import HANDLERS, feed_router
from api.switch import Face, Switch

if TYPE_CHECKING:
    from api.asgi import Application, QuickApplication

TITLE = "nasfeed"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """Who may ask.

    Attributes:
        host_names: names of this server besides the machine's own, localhost and IP addresses.
        token: bearer token that every request must carry, or None: anyone may ask.
    """

    host_names: tuple[str, ...] = ()
    token: str | None = None


class Dependencies(NamedTuple):
    """What the application needs.

    Attributes:
        log: read by the feed.
        readiness: asked until it is ready.
        status: asked in a thread for every status request.
        version: of the program, for the description of the API.
        operations: what probes and metrics ask; without it there are neither.
        faces: beside the feed, each with paths of its own.
        sync: begins barriers; by default there are no roots.
    """

    log: FeedLog
    readiness: AskReadiness
    status: AskStatus
    version: str
    operations: Operations | None = None
    faces: tuple[Face, ...] = ()
    sync: BeginSync = dict


def create_app(
    dependencies: Dependencies, access: Access | None = None, delivery: Delivery | None = None
) -> "QuickApplication":
    """Return the ASGI application.

    Args:
        dependencies: what it needs.
        access: who may ask; by default anyone, under this machine's names.
        delivery: how those are served who wait for changes.
    """
    access = access or Access()
    feed = Feed(dependencies.log, dependencies.readiness, delivery)
    past = PastFace(dependencies.log, feed.refusal)
    barrier = BarrierFace(feed, dependencies.sync)
    snapshots = Snapshots(dependencies.log)
    registry = _registry(dependencies.operations)
    litestar = Litestar(
        route_handlers=[
            feed_router(feed, past, barrier, snapshots, dependencies.status),
            past_router(past),
            *_operations(dependencies.operations, registry),
        ],
        openapi_config=_openapi(dependencies.version, needs_token=access.token is not None),
        exception_handlers=dict(HANDLERS),
        logging_config=None,
        state=State({"log_id": feed.log_id}),
        on_shutdown=[feed.close, past.close, snapshots.close],
    )
    names = machine_names() | set(access.host_names)
    guard = Guard(Front(feed, cast("Application", litestar)), names, access.token)
    switch = Switch(guard, dependencies.faces, Guard(guard, names))
    return Meter(switch, [route.path_format for route in litestar.routes], registry)


def _registry(operations: Operations | None) -> CollectorRegistry:
    """Return a registry of this application alone; the library's own is the whole process's."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in operations.collectors if operations else ():
        registry.register(collector)
    return registry


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
