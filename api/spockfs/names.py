"""Names: POST and MKNOD make them, DELETE removes, RENAME moves, LINK and SYMLINK add others."""

import errno
import os
import stat
from typing import Final

from api.beneath.root import Entry
from api.served import Touched
from api.spockfs.again import is_again
from api.spockfs.call import CREATED, DONE, Call, Reply, through
from api.spockfs.errors import Refusal
from api.spockfs.owners import give, owner

NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_DEVICES: Final = (stat.S_IFCHR, stat.S_IFBLK)
_NODES: Final = (stat.S_IFIFO, stat.S_IFSOCK, *_DEVICES)


def post(call: Call) -> Reply:
    """Make a file, which its owner may write to whatever its mode says; see the specification.

    What is there already is an error, as only a client that found nothing asks for it: so O_EXCL
    holds. A client that does not want that gives open flags, an extension: then without O_EXCL a
    file that is there is left as it is (200), or cut by O_TRUNC.
    """
    flags = call.fields.number(b"x-spock-flag", os.O_EXCL)
    try:
        _create(call, call.bits() | stat.S_IWUSR)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        with call.mount.handle(call.path) as fd:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                raise Refusal(errno.EISDIR) from None
        return DONE
    return CREATED


def _create(call: Call, bits: int) -> None:
    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            fd = os.open(entry.name, NEW, 0o600, dir_fd=entry.directory)
            try:
                give(call, fd, entry.directory, bits)
            finally:
                os.close(fd)
        return [(call.path, "writing")]

    call.mount.change(act, (call.path,), call.author)


def mknod(call: Call) -> Reply:
    """Make a file, FIFO, socket or device."""
    kind = stat.S_IFMT(call.fields.number(b"x-spock-mode"))
    if kind in (0, stat.S_IFREG):
        _create(call, call.bits())
        return CREATED
    if kind not in _NODES:
        raise Refusal(errno.EINVAL, "X-Spock-mode has no type that MKNOD can make")
    if kind in _DEVICES and not call.mount.rules.privileged:
        raise Refusal(errno.EPERM, "devices are not made here")
    device, bits = call.fields.number(b"x-spock-dev", 0), call.bits()

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            os.mknod(entry.name, kind | 0o600, device, dir_fd=entry.directory)
            _give_unopened(call, entry.name, entry.directory)
        with call.mount.handle(call.path) as fd:
            os.chmod(through(fd), bits)  # noqa: PTH101 - a descriptor
        return [(call.path, "changed")]

    call.mount.change(act, (call.path,), call.author)
    return CREATED


def symlink(call: Call) -> Reply:
    """Make a symbolic link; where it leads is the clients' business, and kept byte for byte.

    With X-Spock-again one that is there and leads to the same place is this one.
    """
    target = call.fields.target()

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            try:
                os.symlink(target, entry.name, dir_fd=entry.directory)
            except FileExistsError:
                if not (is_again(call) and _leads_to(entry, target)):
                    raise
            _give_unopened(call, entry.name, entry.directory)
        return [(call.path, "changed")]

    call.mount.change(act, (call.path,), call.author)
    return CREATED


def _leads_to(entry: Entry, target: bytes) -> bool:
    found = os.lstat(entry.name, dir_fd=entry.directory)
    is_link = stat.S_ISLNK(found.st_mode)
    return is_link and os.readlink(entry.name, dir_fd=entry.directory) == target


def _give_unopened(call: Call, name: bytes, directory: int) -> None:
    found = owner(call, directory)
    if found is not None:
        os.chown(name, *found, dir_fd=directory, follow_symlinks=False)


def readlink(call: Call) -> Reply:
    """Say where a symbolic link leads."""
    with call.mount.entry(call.path) as entry:
        return Reply(body=os.readlink(entry.name, dir_fd=entry.directory))


def link(call: Call) -> Reply:
    """Give a file another name."""
    old = call.other()

    def act() -> list[Touched]:
        with call.mount.entry(old) as source, call.mount.entry(call.path) as entry:
            os.link(
                source.name,
                entry.name,
                src_dir_fd=source.directory,
                dst_dir_fd=entry.directory,
                follow_symlinks=False,
            )
        return [(old, "changed"), (call.path, "changed")]

    call.mount.change(act, (old, call.path), call.author)
    return CREATED


def rename(call: Call) -> Reply:
    """Give a file or directory another name, in the place of what has it now."""
    old = call.other()
    call.mount.check_is_no_point(old)
    call.mount.check_is_no_point(call.path)
    if call.fields.number(b"x-spock-flag", 0):
        raise Refusal(errno.EINVAL, "no flags are known here")

    def act() -> list[Touched]:
        with call.mount.entry(old) as source, call.mount.entry(call.path) as entry:
            os.rename(
                source.name, entry.name, src_dir_fd=source.directory, dst_dir_fd=entry.directory
            )
        return [(old, "moved away"), (call.path, "moved here")]

    call.mount.change(act, (old, call.path), call.author)
    return DONE


def delete(call: Call) -> Reply:
    """Remove a name that is no directory."""
    call.mount.check_is_no_point(call.path)

    def act() -> list[Touched]:
        with call.mount.entry(call.path) as entry:
            os.unlink(entry.name, dir_fd=entry.directory)
        return [(call.path, "removed")]

    call.mount.change(act, (call.path,), call.author)
    return DONE
