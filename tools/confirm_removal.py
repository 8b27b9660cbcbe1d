"""Tell the running server that what is at a root's path now is right, although it looks wrong.

A root that comes back empty, or on another filesystem, is taken to be absent, and nothing is
reported as removed. When the disk was really emptied or replaced, this makes it true in the feed.
"""

import argparse

from tools import control
from tools.config import add_source_options, database_path
from tools.text import print_json


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("root", metavar="ROOT", help="the name of the root, as status shows it")
    add_source_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Have the server do it."""
    result = control.call(
        database_path(arguments), "confirm-removal", {"root": arguments.root}, None
    )
    if arguments.json:
        print_json(result)
    else:
        print(f"what is there now is taken for {arguments.root}")
    return 0
