"""New files, directories and links that the server hears of a moment after the program.

Only in directories that this mount has made and nobody else has touched (`homes.py`), only while
the server tells of all changes and can make a whole file at once (its extension MAKE). There a
program is told at once what it made, and the server soon after, in the background (`journal.py`).
A server that is not there is asked again until it is, or until the mount ends.
"""

import asyncio
import errno
import logging
import os
import stat
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_from_bytes

from tools.mounting.going import Going
from tools.mounting.homes import NAME_MAX, Home, Homes, Owner
from tools.mounting.journal import Journal, Work
from tools.mounting.nodes import Node, Nodes
from tools.mounting.told import Told, fresh, this, time_fields, told
from tools.mounting.wire import Fields, LostError, Pool, Reply

DRAFT_BYTES_MAX: Final = 2**18
"""Of a new file; what is longer is sent as it comes."""

BYTES_MAX: Final = 2**25
"""Of all new files that are on their way; whoever makes more must wait."""

LATEST_SECONDS: Final = 1.0
"""How long a file that is not closed waits at most."""

RETRY_SECONDS: Final = 1.0

_ASK: Final[Fields] = {"X-Spock-ns": 1, "X-Spock-attr": 1}
_AGAIN: Final[Fields] = {"X-Spock-flag": os.O_EXCL, "X-Spock-again": 1}
_SPECIAL: Final = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX

_log = logging.getLogger(__name__)


class Draft:
    """A new file that the server has not been told of.

    Attributes:
        data: its bytes.
        replaces: what somebody else has made meanwhile is replaced, as the program wants.
        losses: how often the server had been lost when it was begun.
        timer: sends it, if nothing does before.
    """

    def __init__(self, *, replaces: bool, losses: int, timer: asyncio.TimerHandle) -> None:
        self.data = bytearray()
        self.replaces = replaces
        self.losses = losses
        self.timer = timer


class Behind:
    """Makes what is new.

    Args:
        pool: asks the server.
        nodes: what the kernel refers to.
        homes: where it may.
        now_ns: tells the time, nanoseconds since 1970.
        vanish: has the kernel forget a name, by directory and name: nothing is there after all.
        renew: has the kernel forget the attributes, or bytes, of a file.

    Attributes:
        homes: as given.
        journal: what is on its way.
        is_offered: whether the server can make a whole file at once.
        going: what is being removed.
        is_lost: whether the server did not answer when it was asked last.
        lost: the paths of what could not be made, and of files whose bytes could not be written.
    """

    def __init__(
        self,
        pool: Pool,
        nodes: Nodes,
        homes: Homes,
        now_ns: Callable[[], int],
        vanish: Callable[[int, bytes], None],
        renew: Callable[[int], None],
    ) -> None:
        self.homes = homes
        self.journal = Journal()
        self.is_offered = False
        self.going = Going(self, pool, nodes, now_ns, vanish)
        self.lost: list[bytes] = []
        self._pool = pool
        self._nodes = nodes
        self._now = now_ns
        self._vanish = vanish
        self._renew = renew
        self._drafts: dict[int, Draft] = {}
        self._bytes = 0  # of files that are on their way
        self._queued: set[int] = set()  # files whose request has not begun
        self.is_lost = False
        self._losses = 0
        self._waiting: dict[int, Node] = {}

    def home(self, directory: int, name: bytes, owner: Owner, mode: int) -> Home | None:
        """Return the directory if something may be made in it without asking; else None."""
        home = self.homes.get(directory)
        if home is None or not self.is_offered or self.is_lost or name in home.names:
            return None
        if owner != home.maker or mode & _SPECIAL or len(name) > NAME_MAX:
            return None
        return home

    def found(self, number: int, maker: Owner, was: Told) -> None:
        """Note that a directory was made, by asking."""
        if self.is_offered:
            inherits = bool(was.mode & stat.S_ISGID)
            self.homes.add(number, Home(Owner(was.uid, was.gid), maker, is_inherited=inherits))

    async def create(
        self, directory: int, name: bytes, home: Home, mode: int, flag: int
    ) -> tuple[Node, Told]:
        """Make a file."""
        while self._bytes > BYTES_MAX:
            await self.journal.progress()
        await self.journal.room()
        node, made = self._place(directory, name, home, fresh(mode, home.owner, 0, self._now()))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(LATEST_SECONDS, self.send, node)
        replaces = flag & (os.O_EXCL | os.O_TRUNC) == os.O_TRUNC
        draft = Draft(replaces=replaces, losses=self._losses, timer=timer)
        self._drafts[node.number] = draft
        return node, made

    async def mkdir(self, directory: int, name: bytes, home: Home, mode: int) -> tuple[Node, Told]:
        """Make a directory."""
        await self.journal.room()
        kind = stat.S_IFDIR | mode | (stat.S_ISGID if home.is_inherited else 0)
        made = fresh(kind, home.owner, 0, self._now())
        node, made = self._place(directory, name, home, made)
        self.homes.add(node.number, Home(home.owner, home.maker, is_inherited=home.is_inherited))
        fields: Fields = {"X-Spock-mode": mode, **_owner(home.maker)}
        fields |= time_fields("mtime", made.mtime)
        self._add(node, lambda: self._make(node, "MKDIR", fields))
        return node, made

    async def symlink(
        self, directory: int, name: bytes, home: Home, target: bytes
    ) -> tuple[Node, Told]:
        """Make a symbolic link."""
        await self.journal.room()
        made = fresh(stat.S_IFLNK | 0o777, home.owner, len(target), self._now())
        node, made = self._place(directory, name, home, made)
        fields: Fields = {"X-Spock-target-encoded": quote_from_bytes(target), **_owner(home.maker)}
        self._add(node, lambda: self._make(node, "SYMLINK", fields))
        return node, made

    def draft(self, number: int) -> Draft | None:
        """Return what the server has not been told of a new file."""
        return self._drafts.get(number)

    def told(self, node: Node) -> Told | None:
        """Return the attributes of something whose making, or changing, is on its way."""
        if not node.is_directory:
            return node.told
        home = self.homes.get(node.number)
        if not (node.told or self._has_inside(node.number)):
            return None
        return node.found if home is None else home.told

    def _has_inside(self, directory: int) -> bool:
        return self.journal.has_inside(directory) or bool(self._drafts_in(directory))

    def write(self, node: Node, start: int, data: bytes) -> bool:
        """Take bytes of a file that the server has not been told of; False: it has, or is now."""
        draft = self._drafts.get(node.number)
        if draft is None or node.told is None:
            return False
        end = start + len(data)
        if end > DRAFT_BYTES_MAX:
            self.send(node)
            return False
        draft.data += bytes(max(0, start - len(draft.data)))
        draft.data[start:end] = data
        node.told = node.told.resized(len(draft.data), self._now())
        return True

    def cut(self, node: Node) -> None:
        """Take away all bytes of a file that the server has not been told of."""
        draft = self._drafts.get(node.number)
        if draft is not None and node.told is not None:
            draft.data.clear()
            node.told = node.told.resized(0, self._now())

    def amend(self, node: Node, after: Told, wanted: list[tuple[str, Fields]]) -> bool:
        """Change attributes of something that is on its way; False: it is not.

        Args:
            node: it.
            after: the attributes after that.
            wanted: the requests that make the change.
        """
        draft = self._drafts.get(node.number)
        if draft is not None:
            if after.size > DRAFT_BYTES_MAX:
                return False
            size = len(draft.data)
            draft.data[after.size :] = bytes(max(0, after.size - size))
            node.told = after
            return True
        if node.number in self._queued and after.size == (node.told or after).size:
            node.told = after
            return True
        if not self.journal.is_pending(node.number) and self.homes.get(node.number) is None:
            return False
        if self.is_lost or after.size != (node.told or after).size:
            return False
        self._amend(node, after, wanted)
        return True

    def _amend(self, node: Node, after: Told, wanted: list[tuple[str, Fields]]) -> None:
        node.told = after

        async def work() -> None:
            for method, fields in wanted:
                if method not in ("CHOWN", "TRUNCATE"):  # as it is already, see `told.amended`
                    await self._do(node, method, {**_ASK, **this(node), **fields})

        self._add(node, work, after_all_inside=stat.S_ISDIR(after.mode))

    def send(self, node: Node) -> None:
        """Tell the server of a new file, if it has not been told."""
        draft = self._drafts.pop(node.number, None)
        if draft is None or node.told is None:
            return
        draft.timer.cancel()
        # What is changed while it waits for its turn is sent with it.
        self._queued.add(node.number)
        self._bytes += len(draft.data)
        self._add(node, lambda: self._make_file(node, draft))

    async def _make_file(self, node: Node, draft: Draft) -> None:
        self._queued.discard(node.number)
        was = node.told
        assert was is not None, "it is kept until the answer has come"
        fields: Fields = {
            "X-Spock-mode": was.mode,
            **time_fields("atime", was.atime),
            **time_fields("mtime", was.mtime),
            **_owner(Owner(was.uid, was.gid)),
            # Once the server was lost, somebody else may have made something later than this.
            "X-Spock-flag": 0 if draft.replaces and draft.losses == self._losses else os.O_EXCL,
        }
        try:
            await self._make(node, "MAKE", fields, bytes(draft.data))
        finally:
            self._bytes -= len(draft.data)

    async def settle(self, *numbers: int, inside: tuple[int, ...] = ()) -> None:
        """Have files, and what is in directories, on the server.

        Raises:
            OSError: something could not be made, or the server does not answer.
        """
        for number in numbers:
            await self.going.others(number)
            if number in self._drafts:
                self.send(self._nodes[number])
        for directory in inside:
            for number in self._drafts_in(directory):
                self.send(self._nodes[number])
        await self.journal.settle(*numbers, inside=inside)

    async def finish(self, longest_seconds: float) -> None:
        """Have everything on the server, as the mount ends; `lost` names what is not."""
        for number in list(self._drafts):
            self.send(self._nodes[number])
        await self.journal.finish(longest_seconds)
        late = OSError(errno.EIO, "the server did not answer before the mount ended")
        for node in list(self._waiting.values()):
            self._fail(node, late)
        for path in self.going.waiting.values():
            self.lose(path, late, "removed")

    def _drafts_in(self, directory: int) -> list[int]:
        nodes = self._nodes
        return [n for n in self._drafts if any(above == directory for above, _ in nodes[n].names)]

    def _place(self, directory: int, name: bytes, home: Home, made: Told) -> tuple[Node, Told]:
        node = self._nodes.place_new(directory, name)
        node.told = made
        home.take(name, made)
        return node, made

    def _add(self, node: Node, work: Work, *, after_all_inside: bool = False) -> None:
        directory, _ = next(reversed(node.names))
        node.pending += 1
        self._waiting[node.number] = node

        async def run() -> None:
            try:
                await work()
            except Exception:
                self._done(node)
                raise
            self._done(node)

        self.journal.add(node.number, directory, run, after_all_inside=after_all_inside)

    def _done(self, node: Node) -> None:
        """Forget what is known of a file before the server's answers, when all have come."""
        node.pending -= 1
        if not node.pending:
            self._waiting.pop(node.number, None)
        if node.pending or node.number in self._drafts:
            return
        node.told = None
        if node.noticed > (node.seen or (0,))[-1]:
            self._renew(node.number)  # somebody else has changed it meanwhile
        node.noticed = 0
        self._nodes.drop(node)

    async def _make(self, node: Node, method: str, fields: Fields, data: bytes = b"") -> None:
        try:
            await self._do(node, method, {**_ASK, **fields}, data)
        except OSError as error:
            self._fail(node, error)
            raise

    async def _do(self, node: Node, method: str, fields: Fields, data: bytes = b"") -> None:
        """Make a request, again and again until the server has answered it.

        What was made, but not answered, is known by its attributes and bytes; else something
        that is there was not made here, or not left as it was, and is left alone.
        """
        reply = await self._try(node, method, fields, data)
        while reply is None:
            await asyncio.sleep(RETRY_SECONDS)
            reply = await self._try(node, method, {**fields, **_AGAIN}, data)
        self.is_lost = False
        self._learn(node, told(reply))

    async def _try(
        self, node: Node, method: str, fields: Fields, data: bytes = b""
    ) -> Reply | None:
        """Make a request; None: the server is not there."""
        try:
            return await self._pool.ask(method, self._nodes.path(node.number), fields, data)
        except LostError as error:
            self.miss(error)
            return None

    def miss(self, error: LostError) -> None:
        """Note that the server is lost."""
        if not self.is_lost:
            _log.warning("the server is lost; what is to be written waits for it: %s", error)
        self.is_lost = True
        self._losses += 1

    def _learn(self, node: Node, now: Told) -> None:
        """Note what the server says of something new."""
        self._nodes.identify(node, (now.dev, now.ino))
        node.seen = node.paged = now.seen
        if node.told is not None:
            self._nodes.present(node, now.ctime, node.told.ctime)

    def lose(self, path: bytes, error: OSError, what: str = "written") -> None:
        """Say, at once and at the end, that something could not be written, or removed."""
        self.lost.append(path)
        _log.error("%s could not be %s: %s", os.fsdecode(path), what, error)

    def unsent(self) -> dict[int, bytes]:
        """Return paths of what is not on the server yet as it is to be, by any numbers."""
        drafts = {number: self._nodes[number] for number in self._drafts}
        nodes = (self._waiting | drafts).items()
        return {number: self._nodes.last_path(node) for number, node in nodes} | self.going.waiting

    def _fail(self, node: Node, error: OSError) -> None:
        """Say what is lost, and have the kernel see that it is."""
        directory, name = next(reversed(node.names))
        node.lost_path = self._nodes.last_path(node)
        self.lose(node.lost_path, error)
        self._nodes.remove(directory, name)
        self.homes.drop(directory)  # perhaps somebody else has made something there
        self.homes.drop(node.number)
        self._vanish(directory, name)


def _owner(owner: Owner) -> Fields:
    return {"X-Spock-uid": owner.uid, "X-Spock-gid": owner.gid}
