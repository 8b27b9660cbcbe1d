"""Say who may use the media library, and what for.

Passwords are asked for, or read from standard input with --password-stdin. The running server does
what is asked; without one it is done here. A user without --write and --read may use the root of
`library.default_user_path`, or none until `rights` says more. `import` takes over users and rights
of an iSyncServer's scanConfig.json.
"""

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from api.library.passwords import hash_password
from eventlog.errors import LogMissingError
from eventlog.log import Log
from projections.library_store import LibraryStore
from tools import control, library_import
from tools.compact import folds_of
from tools.config import add_log_options, source
from tools.errors import OperatorError
from tools.library_actions import ACTIONS, COMMAND, RootLine, UserLine
from tools.text import printable, utc_time

PASSWORD_MIN: Final = 3
"""Characters; the seed's own example has three."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT", help="one of:")
    user = what.add_parser("user", help="who may log in")
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION", help="one of:")
    for name, text in (
        ("add", "make a user"),
        ("passwd", "give a user another password; whoever is logged in with the old one is not"),
        ("rights", "give a user other rights"),
        ("remove", "remove a user"),
        ("list", "print all users and their rights"),
    ):
        _configure_action(actions.add_parser(name, help=text), name)
    taking = what.add_parser("import", help="take users and rights over from a scanConfig.json")
    taking.add_argument("file", metavar="FILE", help="the file")
    _add_log(taking)


def _configure_action(parser: argparse.ArgumentParser, name: str) -> None:
    if name != "list":
        parser.add_argument("name", metavar="NAME", help="of the user; case does not count")
    if name in ("add", "passwd"):
        parser.add_argument(
            "--password-stdin", action="store_true", help="read the password from standard input"
        )
    if name in ("add", "rights"):
        for right, text in (("write", "read and change"), ("read", "only read")):
            parser.add_argument(
                f"--{right}", metavar="ROOT", action="append", default=[], help=f"may {text} it"
            )
    _add_log(parser)


def _add_log(parser: argparse.ArgumentParser) -> None:
    add_log_options(parser)
    parser.set_defaults(directories=[])


def run(arguments: argparse.Namespace) -> int:
    """Do it."""
    given = source(arguments)
    database = given.database
    if arguments.what == "import":
        return _import(database, Path(arguments.file))
    wanted: dict[str, Any] = {"action": arguments.action}
    if arguments.action != "list":
        wanted["name"] = arguments.name
    if arguments.action in ("add", "passwd"):
        wanted["password"] = hash_password(_password(stdin=arguments.password_stdin))
    if arguments.action in ("add", "rights"):
        wanted["rights"] = _rights(arguments.write, arguments.read)
        wanted["default_path"] = given.default_user_path  # a running server knows its own
    lines = _done(database, wanted)
    for line in lines:
        print(_shown(line))
    if arguments.action == "add" and not any(line.rights for line in lines):
        _say_how(database, arguments.name)
    return 0


def _say_how(database: str, name: str) -> None:
    """Say how a user gets rights who has none."""
    found = _asked(database, {"action": "roots"})["roots"]
    roots = ", ".join(line.name for line in msgspec.convert(found, list[RootLine])) or "none yet"
    sys.stderr.write(
        f"nasfeed: {printable(name)} may use no root yet (there are: {printable(roots)}); "
        f"nasfeed library user rights {printable(name)} --write ROOT, or --read ROOT\n"
    )


def _done(database: str, wanted: dict[str, Any]) -> list[UserLine]:
    """Have something done; returns the users it is about."""
    return msgspec.convert(_asked(database, wanted)["users"], list[UserLine])


def _asked(database: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Have the server do something, or do it here when none runs."""
    try:
        return control.call(database, COMMAND, wanted)
    except control.NotRunningError:
        return _here(database, wanted)


def _here(database: str, wanted: dict[str, Any]) -> dict[str, Any]:
    if not Path(database).exists():
        raise LogMissingError(database)
    log = Log(database, folds_of(database))
    store = LibraryStore(log)
    try:
        return ACTIONS[wanted["action"]](store, wanted)
    finally:
        store.close()
        log.close()


def _import(database: str, file: Path) -> int:
    found = _asked(database, {"action": "roots"})["roots"]
    roots = {line.name: line.path for line in msgspec.convert(found, list[RootLine])}
    known = {
        line.name.casefold(): dict(line.rights) for line in _done(database, {"action": "list"})
    }
    for wanted in library_import.actions(file, roots, known):
        given = wanted.pop("clear_password", None)
        if given is not None:
            wanted["password"] = hash_password(given)
        for line in _done(database, wanted):
            print(_shown(line))
    return 0


def _shown(line: UserLine) -> str:
    rights = ", ".join(f"{name} {'rw' if write else 'r'}" for name, write in line.rights)
    login = f"last login {utc_time(line.login_us)}" if line.login_us else "never logged in"
    return f"{printable(line.name):<20}  {printable(rights) or 'no roots':<40}  {login}"


def _rights(write: Sequence[str], read: Sequence[str]) -> list[tuple[str, bool]] | None:
    if not write and not read:
        return None
    return [*((name, True) for name in write), *((name, False) for name in read)]


def _password(*, stdin: bool) -> str:
    if stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise OperatorError("these are two different passwords; nothing was done")
    else:
        raise OperatorError("nobody can be asked for a password here; use --password-stdin")
    if len(password) < PASSWORD_MIN:
        raise OperatorError(f"a password has at least {PASSWORD_MIN} characters")
    return password
