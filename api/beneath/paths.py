"""Relative paths as clients give them: raw bytes, refused when they could mean anything else."""

from typing import Final

NAME_MAX: Final = 255
"""Bytes of a name; Linux allows no more on any usual filesystem."""

PATH_MAX: Final = 4_000
"""Bytes of a whole path; the kernel refuses 4,096, and something may have to be put before it."""


class BadPathError(ValueError):
    """A path that no client may name; the message says why."""


def split(path: bytes) -> tuple[bytes, ...]:
    """Return the names of a relative path.

    Args:
        path: raw bytes, already percent-decoded; empty for the top itself.

    Raises:
        BadPathError: it has an empty name, `.`, `..`, a NUL, or is too long.
    """
    if not path:
        return ()
    names = tuple(path.split(b"/"))
    if b"\0" in path:
        raise BadPathError("a path cannot contain a NUL")
    if b".." in names or b"." in names:
        raise BadPathError('a path cannot contain "." or ".."')
    if b"" in names:
        raise BadPathError("a path cannot contain an empty name")
    if len(path) > PATH_MAX or max(map(len, names)) > NAME_MAX:
        raise BadPathError(f"a name has at most {NAME_MAX} bytes, a path {PATH_MAX}")
    return names


def join(names: tuple[bytes, ...]) -> bytes:
    """Return the path of names; the reverse of `split`."""
    return b"/".join(names)


def pieces(path: bytes) -> list[bytes]:
    """Cut a path into relative ones that follow each other and that the kernel takes."""
    found = []
    while len(path) > PATH_MAX:
        cut = path.rfind(b"/", 0, PATH_MAX + 1)
        if cut < 0:
            break  # what is no name either
        found.append(path[:cut])
        path = path[cut + 1 :]
    return [*found, path]
