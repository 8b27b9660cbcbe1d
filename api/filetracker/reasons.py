"""Why something cannot be done, as clients are told."""

import contextlib
from collections.abc import Iterator

from api.beneath.paths import BadPathError
from api.files.refusal import Refusal, refusal_of
from api.served import RootUnavailableError


def missing(path: bytes) -> Refusal:
    """Return the refusal for a file that is not there."""
    return Refusal(404, f'File "{shown(path)}" not found')


def shown(path: bytes) -> str:
    """Return a path as it can stand in a header and in a terminal."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in text)


def told(path: bytes, error: Exception) -> Exception:
    """Return what a client is told of an error of paths and of the disk.

    Args:
        path: that was asked for.
        error: what was raised.

    Returns:
        A refusal for what a client, or whoever runs the server, can do something about; else the
        error itself.
    """
    if isinstance(error, BadPathError):
        return Refusal(400, f"{shown(path)}: {error}")
    if isinstance(error, OSError | RootUnavailableError):
        return refusal_of(error) or error
    return error


@contextlib.contextmanager
def translated(path: bytes) -> Iterator[None]:
    """Turn errors of paths and of the disk into what a client is told; see `told`."""
    try:
        yield
    except Exception as error:
        answer = told(path, error)
        if answer is error:
            raise
        raise answer from error
