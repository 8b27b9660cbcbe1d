"""Compute the hashes that a first scan left out (skip_initial_hash) and those that failed.

The running server does it, and each result is a change of the feed like any other.
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
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Have the server do it, and wait until it is done."""
    progress = Progress(sys.stderr, SystemClock())
    try:
        result = control.call(database_path(arguments), "rehash", {}, progress.show)
    finally:
        progress.clear()
    if arguments.json:
        print_json(result)
    else:
        print(f"{result['files']:,} files hashed, {result['failed']:,} of them failed")
    return 1 if result["failed"] else 0
