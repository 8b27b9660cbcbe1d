"""What a server may serve beside the feed: a file store, a media library, a filesystem.

`tools.web` imports it when the configuration has one of them.
"""

from typing import NamedTuple

from api.library.face import LibraryFace
from api.spockfs.metered import Metered
from api.spockfs.protocol import SpockProtocol
from api.switch import Face
from eventlog.clock import SystemClock
from tools import faces, spockfs
from tools.compose import System
from tools.config import Config


class Beside(NamedTuple):
    """What is served.

    Attributes:
        faces: on the feed's address.
        library: the one among them that has commands and an end.
        disk: a filesystem on addresses of its own.
        protocol: of its connections.
    """

    faces: tuple[Face, ...] = ()
    library: LibraryFace | None = None
    disk: Metered | None = None
    protocol: type[SpockProtocol] = SpockProtocol


def beside(config: Config, system: System) -> Beside:
    """Return what is configured.

    Args:
        config: of the server.
        system: observes the roots.

    Raises:
        OperatorError: a configuration is wrong.
    """
    store = faces.filetracker(config, system, SystemClock())
    disk = spockfs.spockfs(config, system)
    library = faces.library(config, system, SystemClock())
    served = None if disk is None else Metered(disk)
    return Beside(tuple(filter(None, (store, library))), library, served)
