"""Thumbnails that were made, on the disk, by the content that they are of; the oldest go first."""

import contextlib
import os
import re
import secrets
import threading
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 2**30
"""What they take at most when nothing is configured."""

_KEY: Final = re.compile(r"[0-9a-f]{2}[0-9a-z.-]{1,120}")
_TRIMMED: Final = 0.9
"""Part of the limit that is left when something has to go, so that it does not go one by one."""


class ThumbCache:
    """A directory of small files. Any thread may use it.

    What is stored need not survive a power cut: what is damaged is told by its size being 0, which
    stands for a failure and is made anew when its file changes; all else can be made again.

    Args:
        directory: made when it is first needed.
        bytes_max: what its files may take together.
    """

    def __init__(self, directory: Path, bytes_max: int = BYTES_MAX) -> None:
        self._directory = directory
        self._bytes_max = bytes_max
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """Return what is stored under a key, or None; it is used, so it stays."""
        path = self._path(key)
        try:
            data = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        return data

    def put(self, key: str, data: bytes) -> None:
        """Store something under a key.

        Raises:
            OSError: it cannot be stored.
        """
        path = self._path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}")
        part.write_bytes(data)
        part.replace(path)

    def trim(self) -> int:
        """Remove what was not used for longest, until there is room again; return how many."""
        with self._lock:
            found = sorted(self._files())
            total = sum(size for _, size, _ in found)
            if total <= self._bytes_max:
                return 0
            count = 0
            for _, size, path in found:
                if total <= self._bytes_max * _TRIMMED:
                    break
                path.unlink(missing_ok=True)
                total -= size
                count += 1
            return count

    def _files(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self._directory.glob("??/*"):
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        return found

    def _path(self, key: str) -> Path:
        assert _KEY.fullmatch(key), key
        return self._directory / key[:2] / key[2:]
