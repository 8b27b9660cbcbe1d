"""The whole application: guard, front, routes. It constructs nothing that lies below the API."""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector

from api.barrier import BarrierFace
from api.bootstrap import Snapshots
from api.feed import Feed
from api.front import Front
from api.guard import Guard, machine_names
from api.late import Late
from api.limits import Delivery
from api.metering import Meter
from api.operations import Operations
from api.past import PastFace
from api.ports import AskReadiness, AskStatus, BeginSync, FeedLog
from api.switch import Face, Switch

if TYPE_CHECKING:
    from api.asgi import Application, QuickApplication


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
        complete: called in a thread when everything is imported and made.
    """

    log: FeedLog
    readiness: AskReadiness
    status: AskStatus
    version: str
    operations: Operations | None = None
    faces: tuple[Face, ...] = ()
    sync: BeginSync = dict
    complete: Callable[[], object] = lambda: None


class Answering(NamedTuple):
    """Who answers, whatever framework asks."""

    feed: Feed
    past: PastFace
    barrier: BarrierFace
    snapshots: Snapshots


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
    names = machine_names() | set(access.host_names)

    def make() -> "Application":
        framework = importlib.import_module("api.framework")
        litestar = framework.make_litestar(
            Answering(feed, past, barrier, snapshots),
            dependencies,
            registry,
            needs_token=access.token is not None,
        )
        meter.know(route.path_format for route in litestar.routes)
        dependencies.complete()
        return cast("Application", litestar)

    closers = (feed.close, past.close, snapshots.close)
    late = Late(make, lambda: dependencies.readiness().ready, closers)
    guard = Guard(Front(feed, late), names, access.token)
    switch = Switch(guard, dependencies.faces, Guard(guard, names))
    meter = Meter(switch, Front.TEMPLATES, registry)
    return meter


def _registry(operations: Operations | None) -> CollectorRegistry:
    """Return a registry of this application alone; the library's own is the whole process's."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for collector in operations.collectors if operations else ():
        registry.register(collector)
    return registry
