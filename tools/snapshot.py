"""Write all that is there now to one compressed file beside the log, or list those files.

A server does this by itself once a day; see `snapshots` in the configuration. Snapshots that are
too many or too old are removed. They serve to look at the past, to rebuild, and to restore.
"""

import argparse

from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from projections.frames import DamagedSnapshotError
from projections.snapshot_file import SnapshotFile
from projections.snapshot_store import Line, Listed, SnapshotStore, line
from tools import text
from tools.config import Source, add_source_options, source
from tools.errors import OperatorError
from tools.snapshots import Snapshots
from tools.text import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument("--list", action="store_true", help="only show which there are")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="with --list: read each whole, and say which are damaged",
    )
    parser.add_argument("--json", action="store_true", help="JSON objects, one a line")


def run(arguments: argparse.Namespace) -> int:
    """Take a snapshot, or list them."""
    of = source(arguments)
    snapshots = Snapshots(of.database, of.snapshots, SystemClock())
    if arguments.verify and not arguments.list:
        raise OperatorError("--verify goes with --list: it reads the snapshots that there are")
    if arguments.list:
        if arguments.verify:
            _verify(snapshots.store)
        return _list(_line(of), snapshots.store.files(), as_json=arguments.json)
    taken, new = snapshots.take()
    if arguments.json:
        print_json(_described(taken, _line(of)) | {"new": new})
    elif new:
        print(f"{taken.path}: {_in_words(taken)}")
    else:
        print(f"{taken.path}: nothing was appended since; no new one was made")
    return 0


def _line(of: Source) -> Line:
    connection = open_reader(of.database)
    try:
        return line(connection)
    finally:
        connection.close()


def _verify(store: SnapshotStore) -> None:
    """Read every snapshot whole; those that are damaged within are listed as such from then on."""
    for listed in store.files():
        if listed.header is not None:
            try:
                with SnapshotFile(listed.path) as file:
                    file.verify()
            except DamagedSnapshotError as error:
                store.distrust(error.path)


def _list(log: Line, files: list[Listed], *, as_json: bool) -> int:
    for listed in files:
        if as_json:
            print_json(_described(listed, log))
        else:
            print(f"{listed.path.name}  {_in_words(listed)}{_remark(listed, log)}")
    return 1 if any(listed.problem for listed in files) else 0


def _remark(listed: Listed, log: Line) -> str:
    return "" if listed.header is None or log.has(listed.header) else "; not of this log"


def _in_words(listed: Listed) -> str:
    header = listed.header
    if header is None:
        return f"cannot be used: {listed.problem}"
    return (
        f"{header.nodes:,} nodes as of position {header.position:,},"
        f" {text.local_time(header.time_us)}, {text.size(listed.size)}"
    )


def _described(listed: Listed, log: Line) -> dict[str, object]:
    header = listed.header
    found: dict[str, object] = {"file": str(listed.path)}
    if header is None:
        return found | {"usable": False, "problem": listed.problem}
    return found | {
        "usable": log.has(header),
        "position": header.position,
        "time": text.utc_time(header.time_us),
        "nodes": header.nodes,
        "bytes": listed.size,
        "log_id": header.log_id,
    }
