"""Turns what goes wrong below the library into answers."""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from api.beneath.paths import BadPathError
from api.library.wire import BAD_PARAMETER, DATABASE, LibraryError
from api.served import RootUnavailableError
from eventlog.errors import LogError

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


def guarded(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Do some work.

    Raises:
        LibraryError: with a code for what went wrong.
    """
    try:
        return work(*arguments, **named)
    except LogError as error:
        _log.warning("the library could not store a change: %s", error)
        raise LibraryError(DATABASE) from error
    except (OSError, RootUnavailableError) as error:
        _log.warning("the library could not use a root: %s", error)
        raise LibraryError(DATABASE) from error
    except BadPathError as error:
        raise LibraryError(BAD_PARAMETER) from error
