"""The `nasfeed` command. It only dispatches: a command's module is imported when it is called."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn, Protocol

USAGE = 2
"""What argparse reports for wrong usage."""

INTERRUPTED = 128 + 2
"""What a shell reports for a command that SIGINT ended."""

PIPE_CLOSED = 128 + 13
"""What a shell reports for a command that SIGPIPE ended."""


class Command(NamedTuple):
    """A command of the program.

    Attributes:
        module: whose `configure` and `run` it is.
        summary: one line for the list.
    """

    module: str
    summary: str


COMMANDS = {
    "serve": Command("tools.serve", "watch directories and serve their changes"),
    "follow": Command("tools.follow", "print the changes of a running server as they come"),
    "dump": Command("tools.dump", "print the log: what happened, when, to what"),
    "tree": Command("tools.tree", "print what is in a directory, or was in it on Monday"),
    "check": Command("tools.check", "prove that log, tree and disk agree"),
    "replay": Command("tools.replay", "rebuild what is derived from the log"),
    "snapshot": Command("tools.snapshot", "write all that is there now to one file, or list those"),
    "backup": Command("tools.backup", "copy the whole log into one file, beside a running server"),
    "restore": Command("tools.restore", "put a backup or a snapshot in the place of the log"),
    "rehash": Command("tools.rehash", "compute the hashes that a first scan left out"),
    "rescan": Command("tools.rescan", "compare the roots with the disk now"),
    "compact": Command("tools.compact", "drop what is older than the history window"),
    "squash": Command("tools.squash", "forget all that is gone; clients far behind begin anew"),
    "filetracker": Command("tools.filetracker", "look after the directory of a file store"),
    "library": Command("tools.library", "say who may use the media library, and what for"),
    "mount": Command("tools.mount", "mount a server's filesystem over HTTP (SpockFS)"),
    "unmount": Command("tools.unmount", "send everything, unmount, and say what is lost"),
    "trash": Command("tools.trash", "list, restore or empty the media library's trash"),
    "confirm-removal": Command("tools.confirm_removal", "believe that an emptied disk is empty"),
}

EXAMPLES = """\
examples:
  nasfeed serve /mnt/media                        one directory, on http://127.0.0.1:8080
  nasfeed serve photos=/mnt/a/photos /mnt/music   two, the first with a name of its own
  nasfeed serve --config /data/server.yaml        all settings from a file
  nasfeed follow                                  see the changes of that server as they come
  nasfeed follow --from 0 --once --json           everything it knows, one JSON object a line
  nasfeed dump /mnt/media --since 2h              what happened in the last two hours
  nasfeed tree --at 2d /mnt/media/photos          what was there two days ago?
  nasfeed check /mnt/media                        is everything as it should be?

`nasfeed COMMAND --help` explains a command.
"""


class CommandModule(Protocol):
    """What each command's module offers. Its docstring is the help text."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it; return the exit status."""
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: without the program's name; what the process was started with when None.

    Returns:
        The exit status: 0, 1 when something is wrong, 2 for wrong usage, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in COMMANDS:
        return guarded(lambda: run_command(words[0], words[1:]))
    _parser().parse_args(words)  # explains itself and ends, unless there was nothing to parse
    _parser().print_help()
    return USAGE


def run_command(name: str, words: Sequence[str]) -> int:
    """Import a command's module, parse its arguments and run it.

    Args:
        name: one of `COMMANDS`.
        words: what follows it.

    Returns:
        Its exit status.
    """
    module: CommandModule = importlib.import_module(COMMANDS[name].module)
    parser = argparse.ArgumentParser(
        prog=f"nasfeed {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(parser)
    return module.run(_parsed(parser, words))


def _parsed(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Parse options and arguments in any order, as people write them."""
    try:
        return parser.parse_intermixed_args(words)
    except TypeError:  # argparse cannot do that for a command that has commands of its own
        return parser.parse_args(words)


def guarded(work: Callable[[], int]) -> int:
    """Run a command so that what an operator can cause ends in one line, not in a traceback.

    Returns:
        The exit status.
    """
    try:
        status = work()
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`). Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except PermissionError as error:
        if error.filename is None:
            raise
        place = error.filename if isinstance(error.filename, str) else repr(error.filename)
        return _complain(
            f"{place}: {error.strerror}; run this as a user who may, like the server's"
        )
    except Exception as error:
        if not _is_expected(error):
            raise
        return _complain(error)
    return status


def _is_expected(error: Exception) -> bool:
    """Whether an error is one of those whose text is written for operators."""
    from eventlog.errors import LogError  # noqa: PLC0415 - `--help` must not wait for it
    from tools.errors import OperatorError  # noqa: PLC0415 - likewise

    return isinstance(error, OperatorError | LogError)


def _complain(error: Exception | str) -> int:
    print(f"nasfeed: {error}", file=sys.stderr)
    return 1


class _Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib import metadata  # noqa: PLC0415 - costs more than all the rest of `--help`

        try:
            version = metadata.version("nasfeed")
        except metadata.PackageNotFoundError:
            version = "of an unknown version: it is not installed; run make install"
        print(f"nasfeed {version}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    summaries = (f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="nasfeed",
        usage="nasfeed [--help] [--version] COMMAND …",
        description="A NAS server that remembers: whatever happens to the files under its roots\n"
        "becomes an event in one log, which clients follow over HTTP.\n\n"
        "commands:\n" + "\n".join(summaries),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    parser.add_argument(
        "command", choices=COMMANDS, metavar="COMMAND", nargs="?", help=argparse.SUPPRESS
    )
    return parser
