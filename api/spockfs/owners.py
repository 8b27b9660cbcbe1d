"""Whose a new file or directory is."""

import os

from api.spockfs.call import Call
from api.spockfs.fields import LEAVE


def owner(call: Call, directory: int) -> tuple[int, int] | None:
    """Return owner and group of something new, or None when they are as the system makes them.

    A server that runs as root gives what it makes to the owner of the directory, as all faces do.
    Where owners may be changed, a client can say at once whose it is.

    Args:
        call: the request.
        directory: descriptor of the directory.
    """
    around = os.fstat(directory)
    uid, gid = around.st_uid, around.st_gid
    if call.mount.rules.privileged:
        uid = _given(call, b"x-spock-uid", uid)
        gid = _given(call, b"x-spock-gid", gid)
    return (uid, gid) if os.geteuid() == 0 else None


def _given(call: Call, name: bytes, otherwise: int) -> int:
    number = call.fields.number(name, LEAVE)
    return number if number < LEAVE else otherwise


def own(call: Call, fd: int, directory: int) -> None:
    """Give something new its owner.

    Args:
        call: the request.
        fd: of what is new.
        directory: descriptor of the directory.

    Raises:
        OSError: it cannot be.
    """
    found = owner(call, directory)
    if found is not None:
        os.fchown(fd, *found)


def give(call: Call, fd: int, directory: int, bits: int) -> None:
    """Give something new its owner and permissions.

    Args:
        call: the request.
        fd: of what is new.
        directory: descriptor of the directory.
        bits: permissions.

    Raises:
        OSError: it cannot be.
    """
    own(call, fd, directory)
    os.fchmod(fd, bits)
