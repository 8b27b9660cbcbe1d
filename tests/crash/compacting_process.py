"""Changes nodes and compacts without end, until it is killed; prints what it was told."""

import sys
import threading

from eventlog.archive import Archive
from eventlog.clock import SystemClock
from eventlog.compaction import Compactor, Options
from eventlog.events import Modified
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from tests.eventlog.helpers import created, file_state, files, root_state

NODES = 200


def main(path: str, archive: str) -> None:
    """Change all nodes for ever, while everything is old enough to be merged."""
    log = Log(path, FOLDS)
    if not log.head:
        log.append([created(root_state()), *files(NODES)])
    clock = SystemClock()
    compactor = Compactor(log, Options(-(10**9), Archive(archive)), clock)

    def compact() -> None:
        while True:
            compactor.run(threading.Event())

    threading.Thread(target=compact, daemon=True).start()
    size = 0
    while True:
        size += 1
        drafts = [
            Draft(node, Modified("", file_state(b"f%d" % (node - 2), ino=998 + node, size=size)))
            for node in range(2, NODES + 2)
        ]
        first = log.append(drafts)
        sys.stdout.write(f"{first} {size}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
