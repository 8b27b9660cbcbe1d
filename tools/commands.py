"""What a running server does when a command asks it to, over its control socket."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from tools import library_actions, watching
from tools.compose import System
from tools.control import Arguments, Report
from tools.errors import OperatorError
from tools.progress import Step

POLL_SECONDS = 0.2
"""How often progress is looked at."""


def commands(system: System) -> dict[str, Callable[[Arguments, Report], Any]]:
    """Return what can be asked of a system, by name."""

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

    async def library_user(arguments: Arguments, _: Report) -> dict[str, Any]:
        action = library_actions.ACTIONS[str(arguments["action"])]
        return await asyncio.to_thread(action, system.library, arguments)

    users = {library_actions.COMMAND: library_user}
    own = {"rehash": rehash, "confirm-removal": confirm_removal, watching.COMMAND: served}
    return {**own, **users, **system.maintenance.commands()}


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
