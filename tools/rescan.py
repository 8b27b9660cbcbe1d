"""Have the running server compare its roots with the disk now, and wait until that is done.

It does so by itself from time to time, and whenever it knows that it may have missed something.
"""

import argparse
import sys

from eventlog.clock import SystemClock
from tools import control
from tools.config import add_source_options, database_path
from tools.progress import Progress
from tools.text import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_source_options(parser)
    parser.add_argument(
        "--root", metavar="ROOT", action="append", help="only this root; may be given several times"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Have the server do it, and say what it found."""
    progress = Progress(sys.stderr, SystemClock())
    wanted = {"roots": arguments.root or []}
    try:
        found = control.call(database_path(arguments), "rescan", wanted, progress.show)
    finally:
        progress.clear()
    if arguments.json:
        print_json(found)
        return 0
    for root in found["roots"]:
        news = f"{root['events']:,} events" if root["events"] else "nothing new"
        print(f"{root['root']}: {root['entries']:,} entries, {news}")
    return 0
