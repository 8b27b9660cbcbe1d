"""A scrap of memory that outlives a worker: what it was doing when it died.

Telling the pool of each file through the pipe would cost two system calls a file on either side;
two words in shared memory cost nothing, and are there after a SIGKILL too.
"""

import mmap
import os
import struct

from watcher.metadata.wire import Stage

_WORDS = struct.Struct("=QQ")


class BlackBox:
    """Two words shared by a worker and the pool.

    Args:
        fd: a descriptor as `create` makes; kept open until `close`.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _WORDS.size)
        self._started = 0

    @classmethod
    def create(cls) -> "BlackBox":
        """Make a new one, to be inherited by a worker through its descriptor."""
        fd = os.memfd_create("nasfeed-worker", os.MFD_CLOEXEC)
        os.truncate(fd, _WORDS.size)
        return cls(fd)

    def start(self) -> None:
        """Note, in the worker, that the next file has begun."""
        self._started += 1
        self.enter(Stage.READING)

    def enter(self, stage: Stage) -> None:
        """Note, in the worker, what is done next."""
        _WORDS.pack_into(self._memory, 0, self._started, stage)

    def read(self) -> tuple[int, Stage]:
        """Return, in the pool, how many files were begun and what was done last."""
        started, stage = _WORDS.unpack_from(self._memory)
        return started, Stage(stage)

    def close(self) -> None:
        """Free the memory and the descriptor."""
        self._memory.close()
        os.close(self.fd)
