"""Where log lines go, and how they look."""

import logging
import sys
from typing import TextIO

from tools.errors import OperatorError
from tools.progress import Progress
from tools.text import printable

_FORMAT = "%(asctime)s %(levelname)-7s %(message)s"


class _OneLine(logging.Formatter):
    """Keeps what a file name may hold from forging a line or steering the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the line; a traceback follows it as it is."""
        record.message = printable(record.message)
        return super().formatMessage(record)


class _BesideProgress(logging.StreamHandler[TextIO]):
    """Takes the progress line away before a log line is written where it stands."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(sys.stderr)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        self._progress.clear()
        super().emit(record)


def configure(level: str, path: str | None, progress: Progress) -> None:
    """Send the log lines of the whole process to one place.

    Args:
        level: the least important that are shown: debug, info, warning or error.
        path: a file to append to, or None for standard error.
        progress: what may be drawn on standard error.

    Raises:
        OperatorError: the file cannot be opened.
    """
    try:
        handler = logging.FileHandler(path, encoding="utf-8") if path else _BesideProgress(progress)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}; give another file") from error
    handler.setFormatter(_OneLine(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("httpx", "httpcore"):
        # They tell each URL whole, and that of a webhook may be a secret.
        logging.getLogger(library).setLevel(logging.WARNING)
    if level != "debug":
        # It announces its own start and end, which an operator has no use for.
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
