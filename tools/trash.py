"""List, restore or empty the trash of the media library. The running server does it.

What users of the library delete is kept beside the files, see `library.trash_days`. A number is the
one that `list` shows; what is restored comes back where it was, under a free name.
"""

import argparse
from typing import Any

import msgspec

from tools import control
from tools.config import add_log_options, source
from tools.library_actions import TRASH_COMMAND
from tools.text import print_json, printable, size, utc_time
from tools.trash_actions import TrashLine


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", help="one of:")
    listing = actions.add_parser("list", help="print what is in the trash, the newest last")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    restoring = actions.add_parser("restore", help="put things back where they were")
    restoring.add_argument("numbers", metavar="NUMBER", type=int, nargs="+", help="of a thing")
    emptying = actions.add_parser("empty", help="remove things from the trash for good")
    emptying.add_argument(
        "numbers", metavar="NUMBER", type=int, nargs="*", help="of a thing; all when none is given"
    )
    for action in (listing, restoring, emptying):
        add_log_options(action)
        action.set_defaults(directories=[])


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    wanted: dict[str, Any] = {"action": arguments.action}
    if arguments.action != "list":
        wanted["numbers"] = arguments.numbers
    found = control.call(source(arguments).database, TRASH_COMMAND, wanted)
    if arguments.action == "list":
        for line in msgspec.convert(found["trash"], list[TrashLine]):
            print_json(line) if arguments.json else print(_shown(line))
        return 0
    for path in found["done"]:
        print(printable(path))
    return 0


def _shown(line: TrashLine) -> str:
    slash = "/" if line.is_directory else ""
    by = f"  by {printable(line.user)}" if line.user else ""
    when = utc_time(line.deleted_us)
    return f"{line.number:>10}  {when}  {printable(line.path)}{slash}  {size(line.size)}{by}"
