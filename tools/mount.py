"""Mount the filesystem of a server, until it is unmounted or this is stopped.

URL is http://[NAME:PASSWORD@]HOST:PORT/PATH, as `nasfeed serve --spockfs` offers it. DIR is an
empty directory. It is unmounted by Ctrl-C, or by `nasfeed unmount DIR`, which waits until all is on
the server and says what is not. `fusermount3 -u DIR` waits for nothing.
"""

import argparse
import asyncio
import importlib
import logging
import signal
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from eventlog.clock import SystemClock
from tools.errors import OperatorError
from tools.mounting.control import Control, place
from tools.mounting.following import Follower, Kernel
from tools.mounting.wire import Pool, Server, parse_url

CACHE_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)

TASKS_MAX: Final = 32
"""Requests of the kernel that are worked on at once."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("url", metavar="URL", help="where the filesystem is")
    parser.add_argument("directory", metavar="DIR", help="where it is to be")
    parser.add_argument("--read-only", action="store_true", help="change nothing")
    parser.add_argument("--allow-other", action="store_true", help="let other users in, too")
    parser.add_argument(
        "--wait",
        action="store_true",
        help="have programs that close a new file, or remove one, wait for the server",
    )
    parser.add_argument(
        "--cache",
        type=seconds,
        default=CACHE_SECONDS,
        metavar="SECONDS",
        help="how long attributes and names are believed of a directory whose changes the server "
        "does not tell, as it does of all that it watches (default: 1)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Mount it and serve the kernel until it is unmounted.

    Raises:
        OperatorError: it cannot be mounted, or new files were lost.
    """
    try:
        server = parse_url(arguments.url)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    if not Path(arguments.directory).is_dir():
        raise OperatorError(f"{arguments.directory}: no such directory; make it first")
    fuse = _library()
    # Not uvloop: there pyfuse3's readers are called once more after they were removed.
    lost = asyncio.run(_mount(fuse, server, arguments))
    if lost:
        raise OperatorError(f"{lost} files could not be written; they are named above")
    return 0


def _library() -> ModuleType:
    try:
        fuse = importlib.import_module("pyfuse3")
    except ImportError as error:
        raise OperatorError(
            "mounting needs pyfuse3: install libfuse3-dev and pkg-config, then pip install pyfuse3"
        ) from error
    importlib.import_module("pyfuse3.asyncio").enable()
    return fuse


async def _mount(fuse: ModuleType, server: Server, arguments: argparse.Namespace) -> int:
    """Serve the kernel; returns how many files could not be written."""
    pool, clock = Pool(server), SystemClock()
    operations = importlib.import_module("tools.mounting.operations").Operations(
        pool, arguments.cache, lambda: clock.now_us() * 1000, waits=arguments.wait
    )
    follower = Follower(
        pool, operations.nodes, operations.behind.homes, cast("Kernel", fuse), operations.trust
    )
    where = place(arguments.directory)
    try:
        await pool.ask("GETATTR", b"/")
        await operations.begin()
        await follower.begin()
        fuse.init(operations, arguments.directory, _options(fuse, arguments))
    except (OSError, RuntimeError) as error:
        raise OperatorError(f"{arguments.url} on {arguments.directory}: {error}") from error
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_complain)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, fuse.terminate)
    control = Control(operations)
    try:
        await control.listen(where)
    except OSError as error:
        _log.warning("`nasfeed unmount` will not find this mount: %s", error)
    print(f"mounted on {arguments.directory}", flush=True)
    following = asyncio.create_task(follower.follow())
    try:
        await fuse.main(min_tasks=1, max_tasks=TASKS_MAX)
        await operations.finish()
        await control.close()
    finally:
        following.cancel()
        fuse.close(unmount=True)
        pool.close()
    return len(operations.lost())


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what went wrong, but for one fault of pyfuse3 3.5.

    When it ends, a last request may come for a reader that it has cancelled already. It sets the
    result all the same, which does nothing but raise this.
    """
    if not isinstance(context.get("exception"), asyncio.InvalidStateError):
        loop.default_exception_handler(context)


def _options(fuse: ModuleType, arguments: argparse.Namespace) -> set[str]:
    options = {*fuse.default_options, "fsname=nasfeed", "subtype=spockfs"}
    options |= {"ro"} if arguments.read_only else set()
    return options | ({"allow_other"} if arguments.allow_other else set())


def seconds(text: str) -> float:
    """Read a number of seconds from the command line.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return found
