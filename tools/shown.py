"""What a server shows of its work while it runs."""

import logging

from tools.compose import System
from tools.progress import Progress, Step

BURST_FILES = 100
"""When so many files were described in a row, a line says that it is done."""

_log = logging.getLogger("nasfeed")


class Shown:
    """Shows the first scan, then each burst of metadata by itself."""

    def __init__(self, system: System, progress: Progress) -> None:
        self._system = system
        self._progress = progress
        self._before: int | None = None

    def show(self) -> None:
        """Show what goes on now."""
        states = [observer.status for observer in self._system.observers]
        if any(state.state == "scanning" and not state.scanned for state in states):
            entries = sum(state.entries for state in states)
            self._progress.show(Step("scanning", "entries", entries))
        else:
            self._show_metadata()

    def _show_metadata(self) -> None:
        described = self._system.describer.status
        if described.pending:
            if self._before is None:
                self._before = described.done
            done = described.done - self._before
            self._progress.show(Step("metadata", "files", done, done + described.pending))
            return
        self._progress.clear()
        if self._before is not None and described.done - self._before >= BURST_FILES:
            _log.info("metadata: %d files described", described.done - self._before)
        self._before = None
