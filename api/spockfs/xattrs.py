"""Extended attributes: LISTXATTR, GETXATTR, SETXATTR, REMOVEXATTR.

Unless a mount point is privileged, only those of users can be seen: others give rights, such as
`security.capability`, or are the system's own.
"""

import errno
import os
from collections.abc import Callable
from typing import Final

from api.served import Touched
from api.spockfs.call import DONE, Call, Reply, through
from api.spockfs.errors import Refusal

_OPEN_TO_ALL: Final = b"user."
_FLAGS: Final = (0, os.XATTR_CREATE, os.XATTR_REPLACE)


def listxattr(call: Call) -> Reply:
    """List names, one on each line; those with a line's end in them are left out."""
    with call.mount.handle(call.path) as fd:
        names = map(os.fsencode, os.listxattr(through(fd)))
        shown = [name for name in names if _is_allowed(call, name) and b"\n" not in name]
    return _sized(call, b"".join(b"%b\n" % name for name in shown))


def getxattr(call: Call) -> Reply:
    """Return a value."""
    name = call.fields.target()
    if not _is_allowed(call, name):
        raise Refusal(errno.ENODATA)
    with call.mount.handle(call.path) as fd:
        return _sized(call, os.getxattr(through(fd), name))


def _sized(call: Call, data: bytes) -> Reply:
    """Return data that X-Spock-size has room for, or how much room it needs."""
    size = call.fields.number(b"x-spock-size", 0)
    if size == 0:
        return Reply(fields=[(b"x-spock-size", b"%d" % len(data))])
    if len(data) > min(size, call.mount.rules.xattr_limit):
        raise Refusal(errno.ERANGE)
    return Reply(body=data)


def setxattr(call: Call) -> Reply:
    """Set a value, which is the body."""
    name = call.fields.target()
    flag = call.fields.number(b"x-spock-flag", 0)
    if flag not in _FLAGS:
        raise Refusal(errno.EINVAL, "X-Spock-flag must be 0, 1 or 2")
    if not _is_allowed(call, name):
        raise Refusal(errno.EPERM, "only attributes in the namespace user are set here")
    if len(call.body) > call.mount.rules.xattr_limit:
        raise Refusal(errno.E2BIG)
    _change(call, lambda path: os.setxattr(path, name, call.body, flag))
    return DONE


def removexattr(call: Call) -> Reply:
    """Remove an attribute."""
    name = call.fields.target()
    if not _is_allowed(call, name):
        raise Refusal(errno.ENODATA)
    _change(call, lambda path: os.removexattr(path, name))
    return DONE


def _change(call: Call, change: Callable[[str], None]) -> None:
    def act() -> list[Touched]:
        with call.mount.handle(call.path) as fd:
            change(through(fd))
        return [(call.path, "changed")]

    call.mount.change(act, (call.path,), call.author)


def _is_allowed(call: Call, name: bytes) -> bool:
    return name.startswith(_OPEN_TO_ALL) or call.mount.rules.privileged
