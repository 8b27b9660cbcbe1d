"""Look after the directory of a file store: its old versions, or what another server left.

gc removes versions that are older than --keep-days, and contents that no version has any more.
fsck proves that every version has its content, and every content its digest.
import takes over what an original Filetracker server has stored, with its versions.

All work beside a running server.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from api.beneath.root import Beneath
from api.beneath.staging import Staging
from api.files.refusal import Refusal
from api.filetracker import upkeep
from api.filetracker.digests import Digests
from api.filetracker.keep import Keeper
from api.filetracker.reasons import shown
from eventlog.clock import SystemClock
from tools import original_store
from tools.errors import OperatorError

_DONE: Final = 0
_WRONG: Final = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, help="one of:")
    collecting = actions.add_parser("gc", help="remove old versions and contents without any")
    collecting.add_argument(
        "--keep-days", type=_days, metavar="DAYS", help="remove versions kept longer than this"
    )
    checking = actions.add_parser("fsck", help="prove that all that is kept is what it should be")
    for action in (collecting, checking):
        action.add_argument("directory", metavar="DIR", help="the store's directory")
    importing = actions.add_parser("import", help="take over an original server's store")
    importing.add_argument("original", metavar="OLD", help="its directory, with links and blobs")
    importing.add_argument("directory", metavar="DIR", help="the store's directory")


def run(arguments: argparse.Namespace) -> int:
    """Do it.

    Returns:
        0, or 1 when something is wrong.

    Raises:
        OperatorError: a directory is missing, or cannot be used.
    """
    directory = Path(arguments.directory)
    if not directory.is_dir():
        raise OperatorError(f"{directory}: no such directory; give that of the store")
    beneath = Beneath(lambda: os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    try:
        if arguments.action == "gc":
            return _collect(beneath, arguments.keep_days)
        if arguments.action == "fsck":
            return _check(beneath)
        return _import(Path(arguments.original), beneath)
    except OSError as error:
        raise OperatorError(f"{directory}: {error.strerror or error}") from error


def _collect(beneath: Beneath, keep_days: float | None) -> int:
    keeper = Keeper(beneath, Staging(beneath), Digests(), None)
    done = upkeep.collect(beneath, keeper, SystemClock().now_us(), keep_days)
    print(f"{done.versions} versions and {done.contents} contents of {done.size} bytes removed")
    return _DONE


def _check(beneath: Beneath) -> int:
    problems = 0
    for line in upkeep.check(beneath):
        problems += 1
        print(line)
    versions = sum(1 for _ in upkeep.notes(beneath))
    print(f"{versions} versions checked, {problems} problems")
    return _WRONG if problems else _DONE


def _import(original: Path, beneath: Beneath) -> int:
    if not (original / "links").is_dir() or not (original / "blobs").is_dir():
        raise OperatorError(f"{original}: this is no original server's directory (links, blobs)")
    staging = Staging(beneath)
    taken = passed = failed = 0
    for stored in original_store.files(original):
        try:
            if original_store.take(original, stored, beneath, staging):
                taken += 1
            else:
                passed += 1
        except (Refusal, OSError) as error:
            failed += 1
            print(f"{shown(stored.path)}: not taken: {error}")
    print(f"{taken} files taken, {passed} were there already, {failed} could not be taken")
    return _WRONG if failed else _DONE


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days
