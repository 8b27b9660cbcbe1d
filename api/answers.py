"""An answer ready to be sent, whichever way it leaves: through Litestar or in front of it."""

import logging
from typing import Final, NamedTuple

from api.encode import to_json
from api.wire import Problem
from eventlog.errors import LogMissingError, LogUnavailableError

Headers = tuple[tuple[str, str], ...]

JSON_TYPE: Final = "application/json; charset=utf-8"
RETRY_SECONDS: Final = 5
"""When to come back to a log that cannot be read now."""

_log = logging.getLogger(__name__)

METHODS: Final = "GET, HEAD"
"""All that the feed offers, for `Allow`."""


class Answer(NamedTuple):
    """An answer in one piece.

    Attributes:
        body: what is sent; JSON unless `media` says otherwise.
        status: of HTTP.
        headers: besides the content's type and length.
        media: the content's type.
    """

    body: bytes
    status: int = 200
    headers: Headers = ()
    media: str = JSON_TYPE


def problem(
    status: int, error: str, detail: str, headers: Headers = (), log_id: str = ""
) -> Answer:
    """Return an error.

    Args:
        status: of HTTP.
        error: a word for programs.
        detail: a line for people.
        headers: besides the content's type and length.
        log_id: epoch of the log's positions, where the log is known.
    """
    return Answer(to_json(Problem(error, detail, log_id)), status, headers)


def failure(request: str, error: Exception, log_id: str = "") -> Answer:
    """Log what should not have gone wrong, and return what the client is told.

    The disk of the log may come back, so that is told apart.

    Args:
        request: what was asked, for the log.
        error: what was raised.
        log_id: epoch of the log's positions, where the log is known.
    """
    if isinstance(error, LogMissingError | LogUnavailableError):
        _log.warning("%s: %s", request, error)
        detail, again = "the log cannot be read now; the server's log says why", str(RETRY_SECONDS)
        return problem(503, "log_unavailable", detail, (("Retry-After", again),), log_id)
    _log.error("%s failed", request, exc_info=error)
    return problem(500, "internal", "the server failed; its log says more", log_id=log_id)
