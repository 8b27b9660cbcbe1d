"""Bytes of files: OPEN, GET, PUT, TRUNCATE, FALLOCATE, FSYNC.

What PUT has answered is in the server's memory, as after write(2), and survives the server's death,
but not that of the machine; FSYNC, an extension, has it on the disk. The event of the first PUT of
a file is durable when it is answered; those that follow are recorded together, see
`api.served.WritableRoot.write`.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from api.spockfs.attributes import check_access
from api.spockfs.call import DONE, Call, Reply, Source, check_regular, opened, through
from api.spockfs.errors import Refusal
from api.spockfs.fields import Span
from api.spockfs.names import post

OCTETS: Final = "application/octet-stream"
SAFE: Final = [
    (b"accept-ranges", b"bytes"),
    # Whatever clients store, no browser may take it for a page of this server.
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
_OCTETS: Final = [(b"content-type", OCTETS.encode()), *SAFE]
_MASK_OF: Final = {os.O_RDONLY: os.R_OK, os.O_WRONLY: os.W_OK, os.O_RDWR: os.R_OK | os.W_OK}

_libc = ctypes.CDLL(None, use_errno=True)


def open_(call: Call) -> Reply:
    """Say whether a file may be opened so; O_CREAT and O_TRUNC do what they say."""
    flags = call.fields.number(b"x-spock-flag")
    mask = _MASK_OF.get(flags & os.O_ACCMODE)
    if mask is None:
        raise Refusal(errno.EINVAL, "X-Spock-flag has no way to open")
    changes = flags & (os.O_CREAT | os.O_TRUNC)
    if changes and call.mount.rules.read_only:
        raise Refusal(errno.EROFS)
    if flags & os.O_CREAT and _create(call, flags):
        return DONE
    with call.mount.handle(call.path) as fd:
        found = os.fstat(fd)
        if stat.S_ISDIR(found.st_mode) and (mask & os.W_OK or changes):
            raise Refusal(errno.EISDIR)
        check_access(call, fd, mask | (os.W_OK if flags & os.O_TRUNC else 0))
    if flags & os.O_TRUNC and stat.S_ISREG(found.st_mode):
        _change(call, lambda fd: os.ftruncate(fd, 0))
    return DONE


def _create(call: Call, flags: int) -> bool:
    """Make a file unless it is there; return whether it was made."""
    call.fields.setdefault(b"x-spock-mode", b"%d" % 0o644)
    call.fields[b"x-spock-flag"] = b"%d" % (flags & os.O_EXCL)
    return post(call).status != DONE.status


def get(call: Call) -> Reply:
    """Read bytes; what lies behind the end of the file is left out."""
    with call.mount.handle(call.path) as handle:
        check_regular(os.fstat(handle))
        fd = os.open(through(handle), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    size = os.fstat(fd).st_size
    wanted = call.fields.range()
    if wanted is None:
        return Reply(200, _OCTETS, source=Source(fd, Span(0, size)))
    span = clamp(wanted, size)
    return Reply(206, [*_OCTETS, *told_range(span, size)], source=Source(fd, span))


def clamp(wanted: Span, size: int) -> Span:
    """Return which bytes that were asked for a file has."""
    start = wanted.start if wanted.start >= 0 else max(0, size + wanted.start)
    return Span(min(start, size), min(wanted.stop, size))


def told_range(span: Span, size: int) -> list[tuple[bytes, bytes]]:
    """Return the field that says which bytes are sent; it cannot say of none."""
    if span.stop <= span.start:
        return []
    return [(b"content-range", b"bytes %d-%d/%d" % (span.start, span.stop - 1, size))]


def put(call: Call, data: bytes, start: int) -> None:
    """Write bytes.

    Args:
        call: the request.
        data: to be written.
        start: where in the file.

    Raises:
        Refusal: not all could be written; X-Spock-size says how many were.
        OSError: nothing was.
    """
    _change(call, lambda fd: write_all(fd, data, start))


def write_all(fd: int, data: bytes, start: int) -> None:
    """Write bytes to an open file.

    Raises:
        Refusal: not all could be written; X-Spock-size says how many were.
    """
    rest = memoryview(data)
    done = 0
    while done < len(data):
        try:
            done += os.pwrite(fd, rest[done:], start + done)
        except OSError as error:
            told = [(b"x-spock-size", b"%d" % done)]
            raise Refusal(error.errno or errno.EIO, error.strerror or "", fields=told) from error


def truncate(call: Call) -> Reply:
    """Cut a file, or make it longer with zeros."""
    size = call.fields.number(b"x-spock-size")
    _change(call, lambda fd: os.ftruncate(fd, size))
    return DONE


def fallocate(call: Call) -> Reply:
    """Have room on the disk; X-Spock-mode is the mode of the system call."""
    mode = call.fields.number(b"x-spock-mode", 0)
    if mode >= 2**31:
        raise Refusal(errno.EINVAL, "there is no such mode")
    span = call.fields.needed_range()
    _change(call, lambda fd: _fallocate(fd, mode, span))
    return DONE


def _fallocate(fd: int, mode: int, span: Span) -> None:
    done = _libc.fallocate(
        ctypes.c_int(fd),
        ctypes.c_int(mode),
        ctypes.c_longlong(span.start),
        ctypes.c_longlong(span.stop - span.start),
    )
    if done < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def fsync(call: Call) -> Reply:
    """Have what was written on the disk and its event in the log."""
    with opened(call.mount, call.path, os.O_RDONLY) as fd:
        os.fsync(fd)
    call.mount.settle(call.path, call.author)
    return DONE


def release(call: Call) -> Reply:
    """Have what was written in the log now: the client has closed the file."""
    call.mount.settle(call.path, call.author)
    return DONE


def _change(call: Call, change: Callable[[int], None]) -> None:
    def act() -> None:
        with opened(call.mount, call.path, os.O_WRONLY) as fd:
            call.check(os.fstat(fd))
            change(fd)

    call.mount.write(act, call.path, call.author)
