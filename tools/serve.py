"""Watch directories and serve their changes over HTTP until stopped.

The first scan of a directory is followed by a back-fill of hashes, types and dimensions. The feed
answers as soon as the first scan is done; on a restart at once. SIGTERM and Ctrl-C stop the server
within two seconds; nothing that was served is lost, whatever happens.
"""

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import metadata
from typing import Any

import msgspec
import uvloop

from api.app import Access, Dependencies, create_app
from api.connections import Connections
from api.limits import Delivery, Limits
from api.listening import Bound, ListenError
from api.operations import Operations
from api.server import Address, serve
from eventlog.clock import Clock, SystemClock
from eventlog.errors import LogFormatError, LogUnavailableError
from tools import config as configuration
from tools import control, faces, logs, watching, webhooks
from tools.compose import System
from tools.config import Config
from tools.control import Arguments, Report
from tools.errors import OperatorError
from tools.gauges import Deliveries, Gauges
from tools.progress import Progress, Step

POLL_SECONDS = 0.2
"""How often progress is looked at, and whether the log still works."""

BURST_FILES = 100
"""When so many files were described in a row, a line says that it is done."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Parameters of mallopt(3), from malloc.h."""

DESCRIPTORS = 8_192
"""Open files that the process may have, if the system lets it."""

_log = logging.getLogger("nasfeed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    configuration.add_serve_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes.

    Raises:
        OperatorError: the configuration is wrong, or the address cannot be had.
        LogError: the database cannot be used, or has failed.
    """
    config = configuration.serve_config(arguments)
    _collect_less()
    _return_memory()
    _allow_descriptors()
    os.umask(0o077)  # the log names every file, also those in directories that are not for all
    clock = SystemClock()
    progress = Progress(sys.stderr, clock)
    with config.blaming("log_path"):
        logs.configure(config.log_level, config.log_path, progress)
    for note in config.notes:
        _log.warning("%s", note)
    with _bound(config) as bound:
        system = _system(config, clock)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(config, system, progress, bound))
        finally:
            progress.clear()
            system.stop()
    if system.log.failure is not None:
        raise system.log.failure
    _log.info("stopped at position %d", system.log.head)
    return 0


@contextlib.contextmanager
def _bound(config: Config) -> Iterator[Bound]:
    """Take the addresses before there is a database, for a mistake should leave nothing behind."""
    try:
        with Bound(config.host, config.port) as bound:
            yield bound
    except ListenError as error:
        raise OperatorError(str(error)) from error


def _system(config: Config, clock: Clock) -> System:
    try:
        return System(config, clock)
    except (LogUnavailableError, LogFormatError) as error:
        with config.blaming("database_url"):
            raise OperatorError(str(error)) from error


def _collect_less() -> None:
    """Have the cyclic collector pass over modules, and look less often at what scans allocate.

    Scans and pages make many short-lived tuples and next to no cycles; looking for them at the
    default pace costs a tenth of a first scan.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(config: Config, system: System, progress: Progress, bound: Bound) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _log.info("database %s", config.database)
    for name in system.start():
        _log.warning("root %s is no longer configured: its nodes were removed", name)
    version = metadata.version("nasfeed")
    connections = Connections(_limits(config))
    feed = webhooks.Feed(system.log, lambda: system.readiness().ready, SystemClock())
    receivers = [webhooks.Receiver(webhook, feed) for webhook in config.webhooks]
    store = faces.filetracker(config, system, SystemClock())
    app = create_app(
        Dependencies(
            log=system.reader,
            readiness=system.readiness,
            status=lambda: msgspec.structs.replace(
                system.status(version), webhooks=[receiver.status for receiver in receivers]
            ),
            version=version,
            operations=Operations(
                system.health, [Gauges(system, connections, version), Deliveries(receivers)]
            ),
            faces=() if store is None else (store,),
            sync=system.sync,
        ),
        Access(host_names=config.hosts, token=config.token),
        Delivery(streams_max=config.limits.streams),
    )
    async with (
        control.serving(config.database, _commands(system)),
        _watched(system, progress, stop),
        webhooks.calling(receivers, system.log),
    ):
        await serve(app, bound, stop, _announce, connections)


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
        shown = _Shown(system, progress)
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


def _return_memory() -> None:
    """Have the C library give memory back that pages of the feed needed for a moment.

    By default it learns from large blocks to keep them, and keeps a heap for every thread. Then
    one drain of the feed doubles the server's memory for good. But what the next page needs at
    once is kept: a drain is a sixth slower when it is given back in between. See mallopt(3).
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not in musl, which does not need it
        libc.mallopt(_M_ARENA_MAX, 2)
        libc.mallopt(_M_MMAP_THRESHOLD, 8 * 2**20)
        libc.mallopt(_M_TRIM_THRESHOLD, 16 * 2**20)


def _allow_descriptors() -> None:
    """Allow as many open files as streams need.

    The usual 1,024 are for programs that call select(2), as this one does not
    (https://0pointer.net/blog/file-descriptor-limits.html).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


class _Shown:
    """Shows the first scan, then each burst of metadata by itself."""

    def __init__(self, system: System, progress: Progress) -> None:
        self._system = system
        self._progress = progress
        self._before: int | None = None

    def show(self) -> None:
        """Show what goes on now."""
        states = [observer.status for observer in self._system.observers]
        if any(state.state == "scanning" and not state.scanned for state in states):
            entries = sum(state.entries for state in states)
            self._progress.show(Step("scanning", "entries", entries))
        else:
            self._show_metadata()

    def _show_metadata(self) -> None:
        described = self._system.describer.status
        if described.pending:
            if self._before is None:
                self._before = described.done
            done = described.done - self._before
            self._progress.show(Step("metadata", "files", done, done + described.pending))
            return
        self._progress.clear()
        if self._before is not None and described.done - self._before >= BURST_FILES:
            _log.info("metadata: %d files described", described.done - self._before)
        self._before = None


def _commands(system: System) -> dict[str, Callable[[Arguments, Report], Any]]:
    async def rehash(_: Arguments, report: Report) -> dict[str, Any]:
        return await rehash_all(system, report)

    async def confirm_removal(arguments: Arguments, _: Report) -> dict[str, Any]:
        name = str(arguments.get("root", ""))
        for observer in system.observers:
            if observer.root.name == name:
                observer.accept()
                return {"root": name}
        known = ", ".join(observer.root.name for observer in system.observers)
        raise OperatorError(f"there is no root {name!r}; the roots are: {known}")

    async def served(_: Arguments, __: Report) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.to_builtins(system.watching())
        return said

    own = {"rehash": rehash, "confirm-removal": confirm_removal, watching.COMMAND: served}
    return {**own, **system.maintenance.commands()}


async def rehash_all(system: System, report: Report) -> dict[str, Any]:
    """Hash what was skipped or has failed, and wait until all is done.

    Args:
        system: a running one.
        report: told how far it is.

    Returns:
        How many files were described, and how many of them failed.
    """
    before = system.describer.status
    total = await asyncio.to_thread(system.count_unhashed)
    system.describer.rehash()
    while not system.describer.idle:
        done = system.describer.status.done - before.done
        report(Step("hashing", "files", done, max(total, done)))
        await asyncio.sleep(POLL_SECONDS)
    after = system.describer.status
    return {"files": after.done - before.done, "failed": after.failed - before.failed}
