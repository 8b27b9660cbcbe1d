"""SQLite's view of the disk, watched and disturbed: https://rogerbinns.github.io/apsw/vfs.html."""

# ruff: noqa: N802 - the names of the methods are SQLite's

from collections.abc import Callable
from itertools import count
from pathlib import Path

import apsw

from tests.crash.disk import Create, Delete, Op, Sync, Truncate, Write

_numbers = count()

Observer = Callable[[Op], None]
"""Is told of each operation before it is done; what it raises fails the operation."""


class WatchedVfs(apsw.VFS):
    """The usual VFS, with an observer of whatever changes the files of databases.

    Syncs are told, not done: what survives is the business of `tests.crash.disk`.
    """

    def __init__(self, observer: Observer) -> None:
        self.vfs_name = f"watched-{next(_numbers)}"
        self._observer = observer
        super().__init__(self.vfs_name, "unix")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile("unix", name, flags)
        path = Path(name if isinstance(name, str) else name.filename())
        new = not path.exists()
        file = WatchedFile(name, flags, path.name, self._observer)
        if new:
            self._observer(Create(path.name))
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001 - SQLite's signature
        super().xDelete(filename, syncdir)
        self._observer(Delete(Path(filename).name, syncdir))


class WatchedFile(apsw.VFSFile):
    """A file of a database."""

    def __init__(
        self,
        name: str | apsw.URIFilename,
        flags: list[int],
        short: str,
        observer: Observer,
    ) -> None:
        super().__init__("unix", name, flags)
        self._name = short
        self._observer = observer

    def xWrite(self, data: bytes, offset: int) -> None:
        self._observer(Write(self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:
        self._observer(Truncate(self._name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: ARG002 - data or all, the model makes no difference
        self._observer(Sync(self._name))
