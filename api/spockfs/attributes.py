"""What is known of a name, and changes of that: GETATTR, STATFS, ACCESS, CHMOD, CHOWN, UTIMENS."""

import errno
import os
import stat
from typing import Final

from api.asgi import Headers
from api.spockfs.call import DONE, Call, Reply, through
from api.spockfs.errors import Refusal
from api.spockfs.fields import LEAVE

SECOND_NS: Final = 1_000_000_000

_ACCESS_BITS: Final = os.R_OK | os.W_OK | os.X_OK


def getattr_(call: Call) -> Reply:
    """Say what lstat(2) says."""
    return Reply(fields=describe(call.mount.beneath.stat(call.path), call.fields))


def describe(found: os.stat_result, fields: dict[bytes, bytes]) -> Headers:
    """Return the fields that tell of a name.

    Args:
        found: what lstat(2) said.
        fields: of the request; with X-Spock-ns, an extension, times have nanoseconds as well.
    """
    told = [
        (b"x-spock-mode", b"%d" % found.st_mode),
        (b"x-spock-uid", b"%d" % found.st_uid),
        (b"x-spock-gid", b"%d" % found.st_gid),
        (b"x-spock-size", b"%d" % found.st_size),
        (b"x-spock-mtime", b"%d" % (found.st_mtime_ns // SECOND_NS)),
        (b"x-spock-atime", b"%d" % (found.st_atime_ns // SECOND_NS)),
        (b"x-spock-ctime", b"%d" % (found.st_ctime_ns // SECOND_NS)),
        (b"x-spock-nlink", b"%d" % found.st_nlink),
        (b"x-spock-blocks", b"%d" % found.st_blocks),
        (b"x-spock-dev", b"%d" % found.st_dev),
        (b"x-spock-ino", b"%d" % found.st_ino),
    ]
    if b"x-spock-ns" in fields:
        told += [
            (b"x-spock-mtime-ns", b"%d" % (found.st_mtime_ns % SECOND_NS)),
            (b"x-spock-atime-ns", b"%d" % (found.st_atime_ns % SECOND_NS)),
            (b"x-spock-ctime-ns", b"%d" % (found.st_ctime_ns % SECOND_NS)),
            (b"x-spock-rdev", b"%d" % found.st_rdev),
        ]
    return told


def statfs(call: Call) -> Reply:
    """Say what statvfs(3) says of the filesystem."""
    with call.mount.handle(call.path) as fd:
        found = os.fstatvfs(fd)
    flag = found.f_flag | (os.ST_RDONLY if call.mount.rules.read_only else 0)
    told = {
        b"bsize": found.f_bsize,
        b"frsize": found.f_frsize,
        b"blocks": found.f_blocks,
        b"bfree": found.f_bfree,
        b"bavail": found.f_bavail,
        b"files": found.f_files,
        b"ffree": found.f_ffree,
        b"favail": found.f_favail,
        b"fsid": found.f_fsid,
        b"flag": flag,
        b"namemax": found.f_namemax,
    }
    return Reply(fields=[(b"x-spock-" + name, b"%d" % value) for name, value in told.items()])


def access(call: Call) -> Reply:
    """Say whether the server itself may read, write or execute; as the system call does."""
    mask = call.fields.number(b"x-spock-mode")
    if mask & ~_ACCESS_BITS:
        raise Refusal(errno.EINVAL, "X-Spock-mode must be made of 4, 2 and 1")
    with call.mount.handle(call.path) as fd:
        check_access(call, fd, mask)
    return DONE


def check_access(call: Call, fd: int, mask: int) -> None:
    """Refuse what may not be done.

    Args:
        call: the request.
        fd: stands for the file.
        mask: as of access(2).

    Raises:
        Refusal: it may not.
    """
    if mask & os.W_OK and call.mount.rules.read_only:
        raise Refusal(errno.EROFS)
    if not os.access(through(fd), mask, effective_ids=True):
        raise Refusal(errno.EACCES)


def chmod(call: Call) -> Reply:
    """Change permissions."""

    def act() -> None:
        with call.mount.handle(call.path) as fd:
            found = os.fstat(fd)
            call.check(found)
            mode = found.st_mode
            if stat.S_ISLNK(mode):
                raise Refusal(errno.EOPNOTSUPP, "links have no permissions")
            os.chmod(through(fd), call.bits(is_directory=stat.S_ISDIR(mode)))  # noqa: PTH101 - a descriptor

    call.mount.amend(act, call.path, call.author)
    return DONE


def chown(call: Call) -> Reply:
    """Change owner and group."""
    uid = call.fields.number(b"x-spock-uid", LEAVE)
    gid = call.fields.number(b"x-spock-gid", LEAVE)
    if max(uid, gid) > LEAVE:
        raise Refusal(errno.EINVAL, "there is no such owner")

    def act() -> None:
        with call.mount.entry(call.path) as entry:
            found = os.lstat(entry.name, dir_fd=entry.directory)
            call.check(found)
            wanted = (_or_as_it_is(uid, found.st_uid), _or_as_it_is(gid, found.st_gid))
            if wanted == (found.st_uid, found.st_gid):
                return
            if not call.mount.rules.privileged:
                raise Refusal(errno.EPERM, "owners are not changed here")
            os.chown(entry.name, *wanted, dir_fd=entry.directory, follow_symlinks=False)

    call.mount.amend(act, call.path, call.author)
    return DONE


def _or_as_it_is(number: int, is_: int) -> int:
    return is_ if number == LEAVE else number


def utimens(call: Call) -> Reply:
    """Set the times of last access and last change; one that is not given stays as it is."""
    atime, mtime = time_of(call, b"atime"), time_of(call, b"mtime")
    if atime is None and mtime is None:
        raise Refusal(errno.EINVAL, "X-Spock-atime or X-Spock-mtime is needed")

    def act() -> None:
        with call.mount.entry(call.path) as entry:
            found = os.lstat(entry.name, dir_fd=entry.directory)
            call.check(found)
            times = (
                found.st_atime_ns if atime is None else atime,
                found.st_mtime_ns if mtime is None else mtime,
            )
            os.utime(entry.name, ns=times, dir_fd=entry.directory, follow_symlinks=False)

    call.mount.amend(act, call.path, call.author)
    return DONE


def time_of(call: Call, name: bytes) -> int | None:
    """Return a time that a request gives, in nanoseconds since 1970; None when it gives none.

    Args:
        call: the request.
        name: of the field, without X-Spock-.

    Raises:
        Refusal: it is no time.
    """
    seconds = call.fields.seconds(b"x-spock-" + name)
    if seconds is None:
        return None
    rest = call.fields.number(b"x-spock-" + name + b"-ns", 0)
    if rest >= SECOND_NS:
        raise Refusal(errno.EINVAL, "a second has fewer nanoseconds")
    return seconds * SECOND_NS + rest
