"""What a running server does when a command asks it to, over its control socket."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from tools import library_actions, watching
from tools.compose import System
from tools.control import Arguments, Report
from tools.errors import OperatorError
from tools.progress import Step
from watcher.observer import Observer

if TYPE_CHECKING:
    from api.library.call import Service

POLL_SECONDS = 0.2
"""How often progress is looked at."""


def commands(
    system: System, library: "Service | None" = None
) -> dict[str, Callable[[Arguments, Report], Any]]:
    """Return what can be asked of a system, by name.

    Args:
        system: a running one.
        library: the media library that it serves, if any.
    """

    async def rehash(_: Arguments, report: Report) -> dict[str, Any]:
        return await rehash_all(system, report)

    async def confirm_removal(arguments: Arguments, _: Report) -> dict[str, Any]:
        name = str(arguments.get("root", ""))
        _observer(system, name).accept()
        return {"root": name}

    async def rescan(arguments: Arguments, report: Report) -> dict[str, Any]:
        return await rescan_roots(system, list(map(str, arguments.get("roots", ()))), report)

    async def served(_: Arguments, __: Report) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.to_builtins(system.watching())
        return said

    own = {
        "rehash": rehash,
        "rescan": rescan,
        "confirm-removal": confirm_removal,
        watching.COMMAND: served,
    }
    return {**own, **_of_library(system, library), **system.maintenance.commands()}


def _of_library(
    system: System, library: "Service | None"
) -> dict[str, Callable[[Arguments, Report], Any]]:
    async def user(arguments: Arguments, _: Report) -> dict[str, Any]:
        action = library_actions.ACTIONS[str(arguments["action"])]
        wanted = {**arguments, "default_path": system.config.library.default_user_path}
        return await asyncio.to_thread(action, system.library, wanted)

    async def trash(arguments: Arguments, _: Report) -> dict[str, Any]:
        if library is None:
            raise OperatorError("this server has no media library; set library.enabled")
        act = importlib.import_module("tools.trash_actions").act
        said: dict[str, Any] = await asyncio.to_thread(act, library, arguments)
        return said

    return {library_actions.COMMAND: user, library_actions.TRASH_COMMAND: trash}


def _observer(system: System, name: str) -> Observer:
    for observer in system.observers:
        if observer.root.name == name:
            return observer
    known = ", ".join(observer.root.name for observer in system.observers)
    raise OperatorError(f"there is no root {name!r}; the roots are: {known}")


async def rescan_roots(system: System, names: Sequence[str], report: Report) -> dict[str, Any]:
    """Compare roots with the disk from the beginning, and wait until that is done.

    Args:
        system: a running one.
        names: of the roots; none for all.
        report: told how far it is.

    Returns:
        How many entries each has, and how many events that brought.

    Raises:
        OperatorError: there is no such root, or it is offline.
    """
    chosen = [_observer(system, name) for name in names] or list(system.observers)
    before = [observer.status for observer in chosen]
    for observer in chosen:
        observer.rescan()
    # A scan that goes on may have passed already what has changed: the one after it counts.
    ends = [status.scans + 1 + (status.state == "scanning") for status in before]
    while any(_is_behind(each, end) for each, end in zip(chosen, ends, strict=True)):
        now = [observer.status for observer in chosen]
        seen, known = sum(s.entries for s in now), sum(s.entries for s in before)
        report(Step("comparing", "entries", seen, max(seen, known)))
        await asyncio.sleep(POLL_SECONDS)
    return {
        "roots": [
            {
                "root": observer.root.name,
                "entries": observer.status.entries,
                "events": observer.status.repairs - was.repairs,
            }
            for observer, was in zip(chosen, before, strict=True)
        ]
    }


def _is_behind(observer: Observer, scans: int) -> bool:
    status = observer.status
    if status.state == "offline":
        raise OperatorError(f"root {observer.root.name} is offline: {status.reason}")
    return status.scans < scans


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
