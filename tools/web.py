"""The HTTP half of a server: puts the application together and serves until a signal comes.

`tools.serve` imports it when the roots are being scanned already: the web framework takes as long
to import as a disk of some ten thousand files to list.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec
import uvloop

from api.app import Access, Dependencies, create_app
from api.connections import Connections
from api.limits import Delivery, Limits
from api.operations import Operations
from api.server import Address, serve
from api.switch import Face
from eventlog.clock import SystemClock
from tools import control, webhooks
from tools.commands import commands
from tools.compose import System
from tools.config import Config
from tools.gauges import Deliveries, Disk, Gauges
from tools.places import Places
from tools.progress import Progress
from tools.shown import Shown

if TYPE_CHECKING:
    from tools.beside import Beside

POLL_SECONDS = 0.2
"""How often progress is looked at, and whether the log still works."""

_log = logging.getLogger("nasfeed")


def run(config: Config, system: System, progress: Progress, places: Places) -> None:
    """Serve until a signal comes, or until the log fails.

    Args:
        config: how.
        system: what, started.
        progress: where its work is shown.
        places: the addresses.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, system, progress, places))


async def _serve(config: Config, system: System, progress: Progress, places: Places) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    version = metadata.version("nasfeed")
    connections = Connections(_limits(config))
    feed = webhooks.Feed(system.log, lambda: system.readiness().ready, SystemClock())
    receivers = [webhooks.Receiver(webhook, feed) for webhook in config.webhooks]
    beside = _beside(config, system)
    faces, library = (beside.faces, beside.library) if beside else ((), None)
    disk_connections = Connections(_limits(config))
    app = create_app(
        Dependencies(
            log=system.reader,
            readiness=system.readiness,
            status=lambda: msgspec.structs.replace(
                system.status(version), webhooks=[receiver.status for receiver in receivers]
            ),
            version=version,
            operations=Operations(
                system.health,
                [
                    Gauges(system, connections, version),
                    Deliveries(receivers),
                    *(
                        [Disk(beside.disk.tallies, disk_connections)]
                        if beside and beside.disk
                        else ()
                    ),
                ],
            ),
            faces=faces,
            sync=system.sync,
            complete=gc.freeze,  # what was imported since `tools.process` did so
        ),
        Access(host_names=config.hosts, token=config.token),
        Delivery(streams_max=config.limits.streams),
    )
    async with (
        _ending(faces),
        control.serving(config.database, commands(system, library.service if library else None)),
        _watched(system, progress, stop),
        webhooks.calling(receivers, system.log),
    ):
        await asyncio.gather(
            serve(app, places.feed, stop, _announce, connections),
            *_serve_spockfs(beside, places, stop, disk_connections),
        )


def _beside(config: Config, system: System) -> "Beside | None":
    """Return what is served beside the feed; without any, its code is not even imported."""
    wanted = (config.filetracker.root, config.spockfs.port, config.library.enabled or None)
    if wanted == (None, None, None):
        return None
    found: Beside = importlib.import_module("tools.beside").beside(config, system)
    return found


def _serve_spockfs(
    beside: "Beside | None", places: Places, stop: asyncio.Event, connections: Connections
) -> Iterator[Awaitable[None]]:
    """Serve the filesystem, if there is to be one, on addresses of its own."""
    if beside and beside.disk and places.spockfs:
        protocol = beside.protocol
        yield serve(beside.disk, places.spockfs, stop, _announce_spockfs, connections, protocol)


def _announce_spockfs(addresses: list[Address]) -> None:
    for host, port in addresses:
        _log.info("SpockFS at http://%s:%d", f"[{host}]" if ":" in host else host, port)


@contextlib.asynccontextmanager
async def _ending(faces: Sequence[Face]) -> AsyncIterator[None]:
    """End what is served beside the feed before the log does."""
    try:
        yield
    finally:
        for face in faces:
            await asyncio.to_thread(face.close)


def _announce(addresses: list[Address]) -> None:
    for host, port in addresses:
        _log.info("listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)


def _limits(config: Config) -> Limits:
    given = config.limits
    return Limits(
        receive_seconds=given.request_seconds,
        address_connections_max=given.connections_per_client,
        connections_max=given.connections,
    )


@contextlib.asynccontextmanager
async def _watched(system: System, progress: Progress, stop: asyncio.Event) -> AsyncIterator[None]:
    """Show progress, and stop the server when the log has failed."""

    async def watch() -> None:
        shown = Shown(system, progress)
        while system.log.failure is None:
            shown.show()
            await asyncio.sleep(POLL_SECONDS)
        stop.set()

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
