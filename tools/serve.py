"""Watch directories and serve their changes over HTTP until stopped.

The first scan of a directory is followed by a back-fill of hashes, types and dimensions. The feed
answers as soon as the first scan is done; on a restart at once. SIGTERM and Ctrl-C stop the server
within two seconds; nothing that was served is lost, whatever happens.
"""

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from api.listening import Bound, ListenError
from eventlog.clock import Clock, SystemClock
from eventlog.errors import LogFormatError, LogUnavailableError
from tools import config as configuration
from tools import logs, process
from tools.config import Config
from tools.errors import OperatorError
from tools.observing import Observing
from tools.places import Places
from tools.progress import Progress
from tools.spockfs_users import check_open
from watcher.nursery import Nursery

if TYPE_CHECKING:
    from tools.compose import System

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
    process.tune()
    with contextlib.closing(_nursery()) as nursery:  # before anything is open
        return _serve(config, nursery)


def _nursery() -> Nursery:
    try:
        return Nursery.fork()
    except OSError as error:
        raise OperatorError(
            f"no process can be made: {error.strerror}; allow more of them (ulimit -u, or TasksMax "
            "of the service)"
        ) from error


def _serve(config: Config, nursery: Nursery) -> int:
    os.umask(0o077)  # the log names every file, also those in directories that are not for all
    clock = SystemClock()
    progress = Progress(sys.stderr, clock)
    with config.blaming("log_path"):
        logs.configure(config.log_level, config.log_path, progress)
    for note in config.notes:
        _log.warning("%s", note)
    with (
        _bound(config) as bound,
        _bound_spockfs(config) as spockfs,
        _observing(config, clock, nursery) as observing,
    ):
        # Until the event loop handles signals, both that stop a server do the same.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            _run(config, observing, progress, Places(bound, spockfs))
    if observing.log.failure is not None:
        raise observing.log.failure
    _log.info("stopped at position %d", observing.log.head)
    return 0


def _run(config: Config, observing: Observing, progress: Progress, places: Places) -> None:
    _log.info("database %s", config.database)
    for name in observing.start():
        _log.warning("root %s is no longer configured: its nodes were removed", name)
    with contextlib.ExitStack() as ends:
        system = _system(config, observing)
        ends.callback(system.stop)
        ends.callback(progress.clear)
        system.start()
        importlib.import_module("tools.web").run(config, system, progress, places)


@contextlib.contextmanager
def _bound(config: Config) -> Iterator[Bound]:
    """Take the addresses before there is a database, for a mistake should leave nothing behind."""
    try:
        with Bound(config.host, config.port) as bound:
            yield bound
    except ListenError as error:
        raise OperatorError(str(error)) from error


@contextlib.contextmanager
def _bound_spockfs(config: Config) -> Iterator[Bound | None]:
    if config.spockfs.port is None:
        yield None
        return
    check_open(config)
    try:
        with Bound(config.spockfs.host, config.spockfs.port) as bound:
            yield bound
    except ListenError as error:
        raise OperatorError(f"spockfs: {error}") from error


@contextlib.contextmanager
def _observing(config: Config, clock: Clock, nursery: Nursery) -> Iterator[Observing]:
    try:
        observing = Observing(config, clock, nursery)
    except (LogUnavailableError, LogFormatError) as error:
        with config.blaming("database_url"):
            raise OperatorError(str(error)) from error
    try:
        yield observing
    finally:
        observing.stop()


def _system(config: Config, observing: Observing) -> "System":
    """Make the rest of the server, whose code is imported while the roots are being scanned."""
    try:
        made: System = importlib.import_module("tools.compose").System(
            config, SystemClock(), observing
        )
    except (LogUnavailableError, LogFormatError) as error:
        with config.blaming("database_url"):
            raise OperatorError(str(error)) from error
    return made
