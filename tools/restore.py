"""Put a backup or a snapshot in the place of the log. No server may run on it meanwhile.

The old database is kept. Public ids stay as they were in FILE. The log gets a new log_id, because
from the backup on its positions mean other things: clients are told to begin again. What has
changed on the disk since the backup was made is found when the server starts.
"""

import argparse
from pathlib import Path

from eventlog.clock import Clock, SystemClock
from projections.restore import Restored, Source, examine, restore
from tools import asking
from tools.config import add_source_options, database_path
from tools.text import local_time, print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="a backup or a snapshot")
    add_source_options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace, clock: Clock | None = None) -> int:
    """Ask, and restore."""
    database = database_path(arguments)
    source = examine(Path(arguments.file).absolute())
    asking.confirm(_question(source, database), yes=arguments.yes)
    done = restore(source, database, (clock or SystemClock()).now_us())
    if arguments.json:
        kept = None if done.kept is None else str(done.kept)
        print_json({"database": database, "kept": kept, **done.made._asdict()})
    else:
        print(*_in_words(done, database), sep="\n")
    return 0


def _question(source: Source, database: str) -> str:
    what = "snapshot" if source.is_snapshot else "backup"
    when = f" of {local_time(source.time_us)}" if source.time_us else ""
    return (
        f"Replace {database} by the {what} {source.path}, which ends at position"
        f" {source.head:,}{when}? Clients will have to begin again."
    )


def _in_words(done: Restored, database: str) -> list[str]:
    made = done.made
    lines = [f"{database}: {made.events:,} events; the log is now {made.log_id}, at {made.head:,}"]
    if done.kept is not None:
        lines.append(f"the old database is kept as {done.kept}; remove it when all is well")
    return lines
