"""Looks at the disk: the only calls to `lstat` and friends on what lies below a root."""

import errno
import os
import stat

from eventlog.events import Content, State
from watcher.backend import NOTHING, Place, Sign
from watcher.birth import birth_ns
from watcher.excludes import Excludes
from watcher.filesystems import Filesystems
from watcher.hidden import Hidden, PrivateFiles
from watcher.observation import Facts, Observation, new_state
from watcher.reconcile import File
from watcher.times import storable_ns


class Looker:
    """Turns names into observations.

    Args:
        filesystems: gives filesystems an identity.
        excluded: whether a name is excluded from the feed.
        private: the server's own files.

    Attributes:
        hidden: which names must not be in the feed.
        fs_by_device: identity of the filesystems seen so far, by `st_dev`.
    """

    def __init__(self, filesystems: Filesystems, excluded: Excludes, private: PrivateFiles) -> None:
        self._filesystems = filesystems
        self.hidden = Hidden(excluded, private)
        self.fs_by_device: dict[int, int] = {}

    def forget(self) -> None:
        """Forget what device numbers stand for: something was mounted or unmounted."""
        self.fs_by_device.clear()
        self._filesystems.forget()

    def facts(self, fd: int) -> Facts:
        """Return the facts of an open file, or raise OSError."""
        found = os.fstat(fd)
        return self._facts(found, self._fs_of(found.st_dev, fd))

    def file(self, fd: int) -> File:
        """Return which file a descriptor stands for, or raise OSError."""
        found = os.fstat(fd)
        return self._fs_of(found.st_dev, fd), found.st_ino

    def look(self, directory_fd: int, place: Place, sign: Sign = NOTHING) -> Observation:
        """Look at a place.

        Args:
            directory_fd: its directory.
            place: which.
            sign: what the kernel had said.

        Raises:
            OSError: the disk is in trouble; says nothing about whether the file exists.
        """
        name = place.name
        hidden = self.hidden(directory_fd, name)
        if hidden and not sign & Sign.MOVED_TO:
            return Observation(place, None, sign, excluded=True)
        try:
            found = os.lstat(name, dir_fd=directory_fd)
            facts = self.facts_at(found, directory_fd, name)
        except (FileNotFoundError, NotADirectoryError):
            return Observation(place, None, sign, excluded=hidden)
        if hidden:
            return Observation(place, None, sign, excluded=True, hidden=facts)
        return Observation(place, facts, sign)

    @staticmethod
    def birth_ns(directory_fd: int, name: bytes) -> int | None:
        """Return when the file at a name was made, nanoseconds since 1970; None when unknown."""
        try:
            return birth_ns(directory_fd, name)
        except FileNotFoundError:
            return None

    def facts_at(self, found: os.stat_result, directory_fd: int, name: bytes) -> Facts:
        """Return the facts of a name from its `lstat`.

        Raises:
            FileNotFoundError: it is a link or mount point and went away meanwhile.
            OSError: it cannot be read.
        """
        fs = self.fs_by_device.get(found.st_dev)
        if fs is None:
            fs = self._fs_at(found.st_dev, directory_fd, name)
        if stat.S_ISLNK(found.st_mode):
            return self._facts(found, fs, self._target(directory_fd, name))
        return self._facts(found, fs)

    def state_at(
        self, found: os.stat_result, directory_fd: int, directory: int, name: bytes
    ) -> State:
        """Return the first state of a node from the `lstat` of its name; errors as `facts_at`.

        What `new_state` makes of `facts_at`, at half the cost, for scans of whole disks.

        Args:
            found: what `lstat` said.
            directory_fd: its directory.
            directory: number of that.
            name: its name there.
        """
        if not stat.S_ISREG(found.st_mode) or found.st_dev not in self.fs_by_device:
            return new_state(Place(directory, name), self.facts_at(found, directory_fd, name))
        return State(
            directory,
            name,
            found.st_mode,
            found.st_size,
            storable_ns(found.st_mtime_ns),
            storable_ns(found.st_ctime_ns),
            self.fs_by_device[found.st_dev],
            found.st_ino,
            found.st_uid,
            found.st_gid,
            found.st_nlink,
            b"",
            Content.PENDING,
        )

    @staticmethod
    def _target(directory_fd: int, name: bytes) -> bytes:
        try:
            return os.readlink(name, dir_fd=directory_fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            # Replaced by something that is no link: the kernel hints at that, too.
            raise FileNotFoundError(error.errno, error.strerror, name) from error

    def _fs_at(self, device: int, directory_fd: int, name: bytes) -> int:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            return self._fs_of(device, fd)
        finally:
            os.close(fd)

    def _fs_of(self, device: int, fd: int) -> int:
        fs = self.fs_by_device.get(device)
        if fs is None:
            fs = self.fs_by_device[device] = self._filesystems.identify(device, fd)
        return fs

    @staticmethod
    def _facts(found: os.stat_result, fs: int, target: bytes = b"") -> Facts:
        mode = found.st_mode
        file = stat.S_ISREG(mode)
        return Facts(
            mode,
            found.st_size if file or target else 0,
            storable_ns(found.st_mtime_ns),
            storable_ns(found.st_ctime_ns),
            fs,
            found.st_ino,
            found.st_uid,
            found.st_gid,
            0 if stat.S_ISDIR(mode) else found.st_nlink,
            target,
        )
