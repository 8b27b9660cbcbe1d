"""What a running server watches by: asked through its control socket by who checks its work."""

import msgspec

from tools import control
from tools.control import CommandFailedError, NotRunningError

COMMAND = "watching"


class Watching(msgspec.Struct, frozen=True):
    """What a server leaves out, and how far it is.

    Attributes:
        exclude: name patterns beside the built-in ones.
        files: the server's own, which are never in the feed.
        busy: something is still to be looked at or written.
    """

    exclude: list[str]
    files: list[str]
    busy: bool


def ask(database: str) -> Watching | None:
    """Ask the server that runs on a database; None when there is none, or it is too old to say."""
    try:
        return msgspec.convert(control.call(database, COMMAND, {}), Watching)
    except (NotRunningError, CommandFailedError):
        return None
