"""Names that are gone for programs, and a moment later on the server.

Only one that is known, and closed, while the server tells of all changes and can remove many names
by one request. Nothing else that has got the name meanwhile is removed.
"""

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tools.mounting.nodes import Node, Nodes
from tools.mounting.removing import Doomed, Removing, Streak
from tools.mounting.wire import LostError, Pool

if TYPE_CHECKING:
    from tools.mounting.behind import Behind

RETRY_SECONDS: Final = 1.0


class Going:
    """All of them.

    Args:
        behind: what else is on its way.
        pool: asks the server.
        nodes: what the kernel refers to.
        now_ns: tells the time, nanoseconds since 1970.
        vanish: has the kernel forget what is at a name, by directory and name.

    Attributes:
        is_offered: whether the server can remove many names at once.
        waiting: paths of what is being removed, each by a negative number of its own.
    """

    def __init__(
        self,
        behind: "Behind",
        pool: Pool,
        nodes: Nodes,
        now_ns: Callable[[], int],
        vanish: Callable[[int, bytes], None],
    ) -> None:
        self.is_offered = False
        self.waiting: dict[int, bytes] = {}
        self._behind = behind
        self._nodes = nodes
        self._now = now_ns
        self._vanish = vanish
        self._removing = Removing(pool, nodes.path)
        self._streak = Streak()
        self._numbers: dict[tuple[int, bytes], int] = {}
        self._of: dict[int, set[int]] = {}  # removals of other names of a file that is still there
        self._last = 0

    def may_remove(self, directory: int, node: Node | None) -> bool:
        """Say whether a name may be removed soon, instead of now.

        That is so in a directory of this mount's own, and when a program removes one file after
        the other: it hears of errors when it removes the directory, which waits for all of them.

        Args:
            directory: that it is in.
            node: of the file.
        """
        is_one_of_many = self._streak.note(asyncio.get_running_loop().time())
        if not self.is_offered or self._behind.is_lost or node is None:
            return False
        if node.is_directory or node.opened or node.key is None or node.seen is None:
            return False
        return is_one_of_many or self._behind.homes.get(directory) is not None

    def has(self, directory: int, name: bytes) -> bool:
        """Say whether what is at a name on the server is gone for programs."""
        return (directory, name) in self._numbers

    async def settle(self, directory: int, name: bytes) -> None:
        """Wait until nothing is at a name on the server that is gone for programs.

        Raises:
            OSError: it could not be removed, or the server does not answer.
        """
        number = self._numbers.get((directory, name))
        if number is not None:
            await self._behind.journal.settle(number)

    async def others(self, number: int) -> None:
        """Wait until names of a file are gone that programs know no more, so that links count.

        Args:
            number: of the file; what could not be removed is told of the directory.
        """
        for removal in list(self._of.get(number, ())):
            with contextlib.suppress(OSError):
                await self._behind.journal.settle(removal)

    async def remove(self, directory: int, name: bytes, node: Node) -> None:
        """Remove a name soon; whoever calls this takes it from the nodes then."""
        await self._behind.journal.room()
        self._last -= 1
        number, above = self._last, self._nodes[directory]
        self._numbers[directory, name] = number
        path = self.waiting[number] = self._nodes.path(directory, name)
        self._of.setdefault(node.number, set()).add(number)
        above.pending += 1  # its path is needed, whatever the kernel forgets
        self._change_time(above)

        async def run() -> None:
            try:
                await self._remove(directory, name, node, path)
            finally:
                self._numbers.pop((directory, name), None)
                self.waiting.pop(number, None)
                self._forget(node.number, number)
                above.pending -= 1
                self._nodes.drop(above)

        self._behind.journal.add(number, directory, run, is_shared=True)

    def _forget(self, file: int, number: int) -> None:
        removals = self._of[file]
        removals.discard(number)
        if not removals:
            del self._of[file]

    def _change_time(self, directory: Node) -> None:
        """Have programs see that something in a directory has changed."""
        now, home = self._now(), self._behind.homes.get(directory.number)
        if home is not None and home.told is not None:
            home.told = home.told._replace(mtime=now, ctime=now)
        if directory.found is not None:
            directory.found = directory.found._replace(mtime=now, ctime=now)

    async def _remove(self, directory: int, name: bytes, node: Node, path: bytes) -> None:
        assert node.seen is not None, "what is not known is not removed so"
        inode, _, mtime, _ = node.seen
        doomed, is_again = Doomed(name, inode, None), False
        while True:
            try:
                await self._removing.remove(directory, doomed)
            except LostError as error:
                self._behind.miss(error)
                await asyncio.sleep(RETRY_SECONDS)
                # The number may be that of somebody else's new file by now, but not its time, too.
                doomed, is_again = Doomed(name, inode, mtime), True
            except FileNotFoundError:
                return  # somebody else was faster
            except OSError as error:
                self._vanish(directory, name)  # it is there after all, or something else is
                self._behind.homes.drop(directory)
                if error.errno == errno.ESTALE and not is_again:
                    return  # what was to go has gone
                self._behind.lose(path, error, "removed")
                raise
            else:
                self._behind.is_lost = False
                return
