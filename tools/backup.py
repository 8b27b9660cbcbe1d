"""Copy the whole log into one file, beside a running server, and read the copy to its end.

The copy is the state of one moment and needs no other file. `nasfeed restore` puts it back. Copying
the database's files with other programs while a server runs gives copies that may be damaged.
"""

import argparse
from pathlib import Path

from eventlog.errors import LogMissingError
from projections.backup import Backup, back_up
from tools.config import add_source_options, database_path
from tools.errors import OperatorError
from tools.text import print_json, size


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="where the copy is written")
    add_source_options(parser)
    parser.add_argument("--force", action="store_true", help="replace FILE if it is there")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Make a backup."""
    target = Path(arguments.file).absolute()
    made = make(database_path(arguments), target, force=arguments.force)
    if arguments.json:
        print_json({"file": str(target), **made._asdict()})
    else:
        print(f"{target}: {made.events:,} events up to position {made.head:,}, {size(made.size)}")
    return 0


def make(database: str, target: Path, *, force: bool = False) -> Backup:
    """Make a backup of a log.

    Args:
        database: the log.
        target: absolute path of the file.
        force: whether a file that is there may be replaced.

    Raises:
        OperatorError: the target is not a place for a backup.
        LogError: it could not be made; what was at the target is still there.
    """
    if target.is_dir():
        raise OperatorError(f"{target}: this is a directory; give the file to write in it")
    if not Path(database).exists():
        raise LogMissingError(database)
    if target.exists() and target.samefile(database):
        raise OperatorError(f"{target}: this is the database itself; give another file")
    if target.exists() and not force:
        raise OperatorError(f"{target}: there is a file already; give another name, or --force")
    return back_up(database, target)
