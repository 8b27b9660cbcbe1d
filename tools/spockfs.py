"""Makes the filesystem over HTTP that a configuration asks for."""

import logging
import os
import threading
from collections.abc import Callable, Sequence

from api.credentials import Secrets
from api.guard import machine_names
from api.served import RootUnavailableError, Touched, WritableRoot
from api.spockfs.access import Gate
from api.spockfs.errors import Refusal
from api.spockfs.face import SpockFS
from api.spockfs.mounts import Mount, Mounts, Rules, parse_point
from tools.compose import System
from tools.config import Config, server_files
from tools.errors import OperatorError
from tools.faces import FaceRoot
from tools.spockfs_users import users
from watcher.excludes import Excludes
from watcher.observer import Observer

_log = logging.getLogger("nasfeed")


class OwnDirectory:
    """A directory that is served without being watched; see `api.served.WritableRoot`.

    Args:
        path: of the directory.

    Attributes:
        path: None: there is no log of it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self.path = None
        self._known: tuple[int, int] | None = None

    def open_root(self) -> int:
        """Open the directory, unless another one has come to its path.

        An unmounted disk leaves an empty directory, and what would be written there would be lost
        to sight when the disk returns.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise RootUnavailableError(f"{self._path}: {error.strerror}") from error
        found = os.fstat(fd)
        with self._lock:
            self._known = self._known or (found.st_dev, found.st_ino)
            if self._known == (found.st_dev, found.st_ino):
                return fd
        os.close(fd)
        raise RootUnavailableError(f"{self._path}: another directory is there now")

    def perform(
        self,
        act: Callable[[], Sequence[Touched]],
        _about: tuple[bytes, ...],
        _author: str,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """Make a change; there is no log of it."""
        act()
        if meanwhile is not None:
            meanwhile()
        return 0

    def begin(
        self, _act: Callable[[], Sequence[Touched]], _about: tuple[bytes, ...], _author: str
    ) -> None:
        """Have `perform` called: nobody else would make the change."""

    def write(self, act: Callable[[], None], _path: bytes, _author: str) -> None:
        """Change bytes; there is no log of it."""
        act()

    def amend(self, act: Callable[[], None], _path: bytes, _author: str) -> None:
        """Change something else; there is no log of it."""
        act()

    def settle(self, path: bytes, author: str) -> None:
        """Do nothing: nothing is to be recorded."""

    def is_own(self, _path: bytes) -> bool:
        """Say no: the server keeps nothing of its own here."""
        return False

    def hides(self, _path: bytes) -> bool:
        """Say no: nothing is excluded from a feed that there is not."""
        return False


def spockfs(config: Config, system: System) -> SpockFS | None:
    """Return the filesystem, or None when there is to be none.

    Args:
        config: of the server.
        system: observes the roots.

    Raises:
        OperatorError: its configuration is wrong.
    """
    given = config.spockfs
    if given.port is None:
        return None
    targets = given.mounts or _default_mounts(config)
    for point in (*given.read_only, *given.privileged):
        if point not in targets:
            raise OperatorError(
                f"spockfs: {point} is no mount point; there are: {', '.join(targets)}"
            )
    mounts = [_mount(config, system, point, target) for point, target in targets.items()]
    if len({mount.point for mount in mounts}) < len(mounts):
        raise OperatorError("spockfs.mounts: a mount point is there twice")
    gate = Gate(users(config) or Secrets({}, {}))
    names = machine_names() | set(config.hosts)
    return SpockFS(Mounts(mounts), gate, names, system.reader)


def _default_mounts(config: Config) -> dict[str, str]:
    names = [root.name for root in config.roots]
    return {"/": names[0]} if len(names) == 1 else {f"/{name}": name for name in names}


def _mount(config: Config, system: System, point: str, target: str) -> Mount:
    given = config.spockfs
    try:
        names = parse_point(point)
    except Refusal as error:
        raise OperatorError(f"spockfs.mounts: {point!r} is no mount point: {error}") from error
    root, base = _served(config, system, point, target)
    rules = Rules(point in given.read_only, point in given.privileged, given.xattr_limit)
    return Mount(names, root, base, rules)


def _served(config: Config, system: System, point: str, target: str) -> tuple[WritableRoot, bytes]:
    """Return the root that a directory lies in, and where; one that lies in none is its own."""
    if "/" not in target:
        observer = next((o for o in system.observers if o.root.name == target), None)
        if observer is None:
            raise OperatorError(
                f"spockfs.mounts: {point}: there is no root {target!r}; a directory has a slash"
            )
        return _face_root(config, observer), b""
    path = os.path.realpath(target)
    for observer in system.observers:
        top = os.path.realpath(os.fsdecode(observer.root.path))
        if os.path.commonpath((path, top)) == top:
            base = os.path.relpath(path, top)
            return _face_root(config, observer), b"" if base == "." else os.fsencode(base)
    if not os.path.isdir(path):  # noqa: PTH112 - as above
        _log.warning("spockfs.mounts: %s: there is no directory %s now", point, target)
    return OwnDirectory(path), b""


def _face_root(config: Config, observer: Observer) -> FaceRoot:
    private = server_files(config.database, config.log_path, config.snapshots, config.archive)
    return FaceRoot(observer, Excludes(config.exclude), private)
