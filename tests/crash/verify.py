"""Opens what a crash left behind, as the next server would, and says what is wrong with it."""

from pathlib import Path

from eventlog.check import check
from eventlog.connection import fetch, open_reader
from eventlog.errors import LogError
from eventlog.log import Log
from projections.replay import FOLDS, compare
from tests.crash.disk import Disk
from tests.crash.workload import facts
from tests.eventlog.helpers import created, root_state


class Verdict(list[str]):
    """What is wrong: `corrupt` and `lost` tell the two kinds of harm apart."""

    @property
    def corrupt(self) -> bool:
        return any(not line.startswith("lost: ") for line in self)

    @property
    def lost(self) -> bool:
        return any(line.startswith("lost: ") for line in self)


def verify(path: Path, disk: Disk) -> Verdict:
    """Open a log after a crash.

    Args:
        path: the database file, in a folder as the crash left it.
        disk: says what was told before the crash.

    Returns:
        What is wrong; empty when all is well.
    """
    verdict = Verdict()
    try:
        log = Log(str(path), FOLDS)
        try:
            _open_log(log, disk, verdict)
        finally:
            log.close()
        if log.failure:
            raise log.failure
        _stored(path, disk, verdict)
    except LogError as error:
        verdict.append(f"refused: {error}")
    return verdict


def _open_log(log: Log, disk: Disk, verdict: Verdict) -> None:
    highest = max(disk.told, default=0)
    if log.head < highest:
        verdict.append(f"lost: the head is {log.head}, but {highest} was told")
    if disk.facts and facts(log) != disk.facts:
        verdict.append(f"lost: {facts(log)}, but {disk.facts} was told")
    following = log.append([created(root_state())])
    if following <= highest:
        verdict.append(f"lost: position {following} is given again, {highest} was told")


def _stored(path: Path, disk: Disk, verdict: Verdict) -> None:
    reader = open_reader(str(path))
    try:
        verdict.extend(check(reader))
        if verdict.corrupt:
            return
        verdict.extend(f"projection: {difference}" for difference in compare(reader).differences)
        stored = {
            position: (node, record)
            for position, node, record in fetch(reader, "select position, node, record from events")
        }
        wrong = [n for n, content in disk.told.items() if stored.get(n) != content]
        verdict.extend(f"lost: position {position} has other content" for position in wrong[:1])
    finally:
        reader.close()
