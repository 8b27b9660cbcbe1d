"""Chooses how a root is watched: the best that is proved to work there.

What a kernel, a container and a filesystem together allow is not to be known beforehand, so it is
tried: a file is made in the root (`watcher.cookie`) and its notification waited for.
"""

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeVar

from eventlog.clock import Clock
from watcher.backend import Backend, Place, WatchLimitError
from watcher.cookie import UnwritableError, make_cookie
from watcher.fanotify import FanotifyBackend
from watcher.fanotify_kernel import mark_limit
from watcher.poll import PollBackend
from watcher.sysctl import watch_limit

if TYPE_CHECKING:
    from watcher.inotify import InotifyBackend

Wish = Literal["auto", "fanotify", "inotify", "poll"]

NOTICE_SECONDS: Final = 2.0
"""How long a notification is waited for, which on a machine at rest takes a millisecond."""

_PROBE: Final = -1
"""Number of the root while nothing but the probe is watched for; no node has it."""

AnyBackend = TypeVar("AnyBackend", bound=Backend)


class Choice(NamedTuple):
    """How a root is watched.

    Attributes:
        backend: by this.
        reason: why, in words for the operator.
        warning: what the operator should do something about, else "".
    """

    backend: Backend
    reason: str
    warning: str = ""


class _RefusedError(Exception):
    """A backend does not serve here; the message says why."""


def choose(wish: Wish, root_fd: int, clock: Clock, poll_seconds: float) -> Choice:
    """Open the best backend for a root.

    Args:
        wish: which backend, or `auto`: fanotify, else inotify, else poll. One that does not serve
            gives way to the next one, with a warning.
        root_fd: the root's directory.
        clock: time.
        poll_seconds: between the looks of the `poll` backend.
    """
    candidates: list[tuple[str, Callable[[], tuple[Backend, str]]]] = []
    if wish in ("auto", "fanotify"):
        candidates.append(("fanotify", lambda: _fanotify(root_fd, clock, asked=wish != "auto")))
    if wish != "poll":
        candidates.append(("inotify", lambda: _inotify(root_fd, clock)))
    refusals: list[str] = []
    for name, try_it in candidates:
        try:
            backend, proof = try_it()
        except (_RefusedError, WatchLimitError, OSError) as error:
            refusals.append(str(error) if str(error).startswith(name) else f"{name}: {error}")
        else:
            reason = "; ".join([*refusals, proof])
            return Choice(backend, reason, reason if wish not in ("auto", name) else "")
    polling = PollBackend(clock, interval_seconds=poll_seconds)
    reason = "; ".join(refusals) or "the configuration says so"
    return Choice(polling, reason, reason if refusals else "")


def _fanotify(root_fd: int, clock: Clock, *, asked: bool) -> tuple[Backend, str]:
    with _given_up_on_failure(FanotifyBackend()) as backend:
        proof = _prove(backend, root_fd, clock)
        if backend.is_whole:
            return backend, f"fanotify, one mark for the whole filesystem: {proof}"
        if asked or backend.is_unlimited or mark_limit() > watch_limit():
            return backend, f"fanotify, a mark for each directory: {proof}"
        raise _RefusedError("fanotify may mark only single directories, and fewer than inotify")


def _inotify(root_fd: int, clock: Clock) -> tuple[Backend, str]:
    # Only where it is needed: it brings asyncio with it, which takes long to import.
    backend_class: type[InotifyBackend] = import_module("watcher.inotify").InotifyBackend
    with _given_up_on_failure(backend_class()) as backend:
        return backend, f"inotify: {_prove(backend, root_fd, clock)}"


@contextlib.contextmanager
def _given_up_on_failure(backend: AnyBackend) -> Iterator[AnyBackend]:
    try:
        yield backend
    except BaseException:
        backend.close()
        raise


def _prove(backend: Backend, root_fd: int, clock: Clock) -> str:
    """Have a backend notice a file.

    Returns:
        How it went.

    Raises:
        _RefusedError: it did not notice the file.
        WatchLimitError, OSError: as `watcher.backend.Backend.watch`.
    """
    backend.watch(_PROBE, root_fd)
    try:
        name = make_cookie(root_fd)
    except UnwritableError as error:
        return f"it could not be tried, because no file can be made there ({error})"
    else:
        _wait(backend, Place(_PROBE, name), clock)
        return "a file made there was noticed"
    finally:
        backend.unwatch(_PROBE)


def _wait(backend: Backend, place: Place, clock: Clock) -> None:
    until = clock.monotonic() + NOTICE_SECONDS
    while (left := until - clock.monotonic()) > 0:
        if place in backend.read(left).signs:
            return
    raise _RefusedError(f"{backend.name}: a file made there was not noticed")
