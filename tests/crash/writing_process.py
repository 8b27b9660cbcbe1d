"""Appends until it is killed, and prints what it was told: first position, count and name."""

import sys
from concurrent.futures import Future, wait
from random import Random

from eventlog.log import Log
from projections.replay import FOLDS
from tests.crash.disk import seeded
from tests.eventlog.helpers import files


def append(log: Log, random: Random, name: str) -> Future[int]:
    drafts = files(random.choice((1, 1, 2, 20)), name)
    future = log.submit(lambda transaction: transaction.append(drafts))

    def tell(told: Future[int]) -> None:
        sys.stdout.write(f"{told.result()} {len(drafts)} {name}\n")
        sys.stdout.flush()

    future.add_done_callback(tell)
    return future


def main(path: str, run: str) -> None:
    """Append for ever, a few jobs at a time."""
    random = seeded(int(run))
    log = Log(path, FOLDS)
    number = 0
    while True:
        number += 1
        wait([append(log, random, f"{run}-{number}-{job}-") for job in range(5)])


if __name__ == "__main__":
    main(*sys.argv[1:])
