"""What a command was told, by its command line, its file and its environment, made one.

The only module that reads the environment:

- XDG_STATE_HOME, HOME: where databases are kept that nobody gave a place;
- NASFEED_TOKEN: the bearer token, for those who do not want it in a file.
"""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec

from tools import document, receivers, roots
from tools.document import (
    BackendName,
    Document,
    FiletrackerSection,
    LibrarySection,
    LimitsSection,
    LogLevel,
    SnapshotsSection,
    SpockfsSection,
    Startup,
)
from tools.errors import OperatorError
from tools.receivers import Webhook
from tools.roots import Root
from watcher.quiet import Span, parse_spans

DEFAULT_FILE = "/data/server.yaml"
"""Where wcpan.drive.feed 1.6.0 looks for its configuration."""

DEFAULT_HOST = "127.0.0.1"
"""Only this machine, until someone says otherwise: the feed has no authentication by default."""

DEFAULT_PORT = 8080

SPOCKFS_PORT = 9090
"""That of the examples of the reference server."""

HISTORY_DAYS = 30.0

WORKERS_A_CORE = 4
"""More only wait for each other, and each takes some 30 MB."""


_SIDE_FILES = (
    "",
    "-wal",
    "-shm",
    "-journal",
    ".lock",
    ".control",
    ".ballast",
    ".replaced",
    ".thumbs",
)
"""SQLite's (https://www.sqlite.org/tempfiles.html), the log's lock, the control socket, ballast,
and the directory of the databases that restores have replaced."""


class Config(msgspec.Struct, frozen=True):
    """Everything `nasfeed serve` has to know, checked, with nothing left open.

    Attributes:
        roots: the directories to serve; at least one.
        database: absolute path of the log.
        host, port: where to listen; port 0 takes a free one.
        exclude: name patterns beside the built-in ones.
        log_path: file to append log lines to, or None for standard error.
        log_level: the least important lines that are shown.
        metadata_workers: processes that read files; at least 1.
        metadata_rate: megabytes a second that all of these together read at most; 0: any.
        quiet_hours: when disks are left to sleep.
        skip_initial_hash: leave `hash` empty for what the first scan finds.
        backend: which backend to watch with, or `auto`.
        removal_percent: of a large root, that one comparison may remove without asking.
        startup: what a restart answers until its scan is done.
        token: bearer token that every request must carry, or None.
        hosts: host names that are accepted beside the machine's own.
        limits: what one client, and all together, may take.
        snapshots: when they are taken, and how long they are kept.
        rescan_interval: seconds between full comparisons with the disk.
        poll_interval: seconds between the looks of the `poll` backend.
        history_days: how long every event is kept; of older ones the last of each node.
        archive: absolute path of the directory that keeps what is dropped, or None.
        webhooks: who is told that there is news.
        notes: what was not taken as it was written, one line each.
        origins: keys whose values came from a file, and its name.
        filetracker: the file store; there is none when its root is None.
        spockfs: the filesystem over HTTP; there is none when its port is None.
        library: the media library.
    """

    roots: tuple[Root, ...]
    database: str
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    exclude: tuple[str, ...] = ()
    log_path: str | None = None
    log_level: LogLevel = "info"
    metadata_workers: int = 1
    metadata_rate: float = 0
    quiet_hours: tuple[Span, ...] = ()
    skip_initial_hash: bool = False
    backend: BackendName = "auto"
    removal_percent: float = 50
    startup: Startup = "serve"
    token: str | None = None
    hosts: tuple[str, ...] = ()
    limits: LimitsSection = LimitsSection()
    snapshots: SnapshotsSection = SnapshotsSection()
    rescan_interval: float = 3600
    poll_interval: float = 10
    history_days: float = HISTORY_DAYS
    archive: str | None = None
    webhooks: tuple[Webhook, ...] = ()
    notes: tuple[str, ...] = ()
    origins: dict[str, str] = {}
    filetracker: FiletrackerSection = FiletrackerSection()
    spockfs: SpockfsSection = SpockfsSection()
    library: LibrarySection = LibrarySection()

    @contextlib.contextmanager
    def blaming(self, key: str) -> Iterator[None]:
        """Name file and key in what is found to be wrong with a value later.

        Raises:
            OperatorError: as within, and where the value came from.
        """
        try:
            yield
        except OperatorError as error:
            if key not in self.origins:
                raise
            raise OperatorError(f"{self.origins[key]}: {key}: {error}") from error


class Source(NamedTuple):
    """Whose log a command works on.

    Attributes:
        database: absolute path of the log; nothing says yet that it exists.
        exclude: name patterns beside the built-in ones, as far as they were told.
        log_path: file that the server appends log lines to, or None.
        history_days: how long every event is kept.
        archive: absolute path of the directory that keeps what is dropped, or None.
        snapshots: when they are taken, and how long they are kept.
        default_user_path: see `tools.document.LibrarySection`.
    """

    database: str
    exclude: tuple[str, ...] = ()
    log_path: str | None = None
    history_days: float = HISTORY_DAYS
    archive: str | None = None
    snapshots: SnapshotsSection = SnapshotsSection()
    default_user_path: str | None = None


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add what says whose log is meant: directories, a file, or the database itself."""
    parser.add_argument(
        "directories",
        metavar="DIR",
        nargs="*",
        help="a served directory; NAME=DIR gives it a name other than its own",
    )
    add_log_options(parser)


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add what says whose log is meant when no directories do."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        help=f"a configuration file (default: {DEFAULT_FILE} when no directory is given)",
    )
    parser.add_argument(
        "--db",
        metavar="FILE",
        help="the database (default: one for these directories, below ~/.local/state/nasfeed)",
    )


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `serve`; each wins over the configuration file."""
    add_source_options(parser)
    parser.add_argument(
        "--host", help=f"address to listen on (default: {DEFAULT_HOST}, only this machine)"
    )
    parser.add_argument(
        "--port", type=_port, help=f"port to listen on (default: {DEFAULT_PORT}; 0: a free one)"
    )
    parser.add_argument(
        "--spockfs", action="store_true", help="serve the files, too, as a filesystem (SpockFS)"
    )
    parser.add_argument(
        "--spockfs-port",
        type=_port,
        metavar="PORT",
        help=f"port of that filesystem (default: {SPOCKFS_PORT}; 0: a free one)",
    )
    parser.add_argument(
        "--backend",
        choices=get_args(BackendName),
        help="how changes are noticed (default: auto, the best that works)",
    )
    parser.add_argument(
        "--log-level",
        choices=get_args(LogLevel),
        help="the least important lines that are shown (default: info)",
    )


def serve_config(arguments: argparse.Namespace) -> Config:
    """Make the configuration of a server.

    Args:
        arguments: of a parser with `add_serve_options`.

    Raises:
        OperatorError: something is missing, unknown or ill-typed.
    """
    written = _document(arguments)
    served = _roots(arguments, written)
    api = written.api
    workers, notes = _workers(written.metadata_workers)
    return Config(
        roots=served,
        database=_chosen_database(arguments, written, served),
        host=arguments.host or written.host,
        port=written.port if arguments.port is None else arguments.port,
        exclude=written.exclude or (),
        log_path=written.log_path,
        log_level=arguments.log_level or written.log_level,
        metadata_workers=workers,
        metadata_rate=written.metadata_rate,
        quiet_hours=_quiet_hours(arguments, written),
        skip_initial_hash=written.skip_initial_hash,
        backend=arguments.backend or written.watcher.backend,
        removal_percent=written.watcher.removal_percent,
        startup=written.startup,
        token=api.token or environment_token(),
        hosts=api.hosts,
        limits=written.limits,
        snapshots=written.snapshots,
        rescan_interval=written.rescan_interval,
        poll_interval=written.poll_interval,
        history_days=written.history_days,
        archive=_archive(written),
        webhooks=_webhooks(arguments, written),
        notes=notes,
        origins=_origins(arguments, written),
        filetracker=written.filetracker,
        spockfs=_spockfs(arguments, written.spockfs),
        library=written.library,
    )


def source(arguments: argparse.Namespace) -> Source:
    """Find out whose log a command is to work on.

    Args:
        arguments: of a parser with `add_source_options`.

    Raises:
        OperatorError: see `serve_config`.
    """
    if arguments.db and not arguments.directories and not arguments.config:
        return Source(_database(arguments.db, ()))
    written = _document(arguments)
    given = arguments.db or written.database_url
    served = () if given else _roots(arguments, written)
    return Source(
        _chosen_database(arguments, written, served),
        written.exclude or (),
        written.log_path,
        written.history_days,
        _archive(written),
        written.snapshots,
        written.library.default_user_path,
    )


def database_path(arguments: argparse.Namespace) -> str:
    """Find the database that a command is to work on; nothing says yet that it exists.

    Args:
        arguments: of a parser with `add_source_options`.

    Raises:
        OperatorError: see `serve_config`.
    """
    return source(arguments).database


def server_files(
    database: str,
    log_path: str | None,
    snapshots: SnapshotsSection | None = None,
    archive: str | None = None,
    thumbs: str | None = None,
) -> list[str]:
    """Return the files and directories of a server itself, which are never in its feed."""
    own = [f"{database}{suffix}" for suffix in _SIDE_FILES]
    kept = [snapshot_directory(database, snapshots or SnapshotsSection())]
    kept += [Path(each).expanduser().absolute() for each in (archive, thumbs) if each]
    own += [str(path) for path in kept if path.parent.exists()]  # else nothing is in it yet
    return [*own, str(Path(log_path).absolute())] if log_path else own


def snapshot_directory(database: str, snapshots: SnapshotsSection) -> Path:
    """Return where the snapshots of a database are, an absolute path."""
    return Path(snapshots.directory or f"{database}.snapshots").expanduser().absolute()


def environment_token() -> str | None:
    """Return the bearer token that the environment holds, if any."""
    return _environment("NASFEED_TOKEN") or None


def _document(arguments: argparse.Namespace) -> Document:
    if arguments.directories:
        if arguments.config:
            raise OperatorError("give directories or --config, not both")
        return Document(host=DEFAULT_HOST, port=DEFAULT_PORT)
    return document.parse(_read(arguments.config), arguments.config or DEFAULT_FILE)


def _read(file: str | None) -> str:
    try:
        return Path(file or DEFAULT_FILE).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if file:
            raise OperatorError(f"{file}: no such file; give a YAML file to --config") from error
        raise OperatorError(
            f"which directory? Say: nasfeed serve DIR, or --config FILE ({DEFAULT_FILE} "
            "does not exist)"
        ) from error
    except OSError as error:
        raise OperatorError(f"{file or DEFAULT_FILE}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise OperatorError(f"{file or DEFAULT_FILE}: this is no UTF-8 text") from error


def _roots(arguments: argparse.Namespace, written: Document) -> tuple[Root, ...]:
    if arguments.directories:
        return roots.from_arguments(arguments.directories)
    with _named(arguments, "watches"):
        found = roots.from_mapping(written.watches or {})
    if not found:
        raise OperatorError(
            f"{arguments.config or DEFAULT_FILE}: watches is empty; add a line 'NAME: DIR' to it"
        )
    return found


@contextlib.contextmanager
def _named(arguments: argparse.Namespace, key: str) -> Iterator[None]:
    """Name file and key in what is wrong with a value of the file."""
    try:
        yield
    except OperatorError as error:
        raise OperatorError(f"{arguments.config or DEFAULT_FILE}: {key}: {error}") from error


def _webhooks(arguments: argparse.Namespace, written: Document) -> tuple[Webhook, ...]:
    found = []
    for index, section in enumerate(written.webhooks):
        with _named(arguments, f"webhooks[{index}].url"):
            receiver = receivers.shown_url(section.url)
        with _named(arguments, f"webhooks[{index}].secret"):
            found.append(Webhook(section.url, receivers.secret(section.secret), receiver))
    return tuple(found)


def _quiet_hours(arguments: argparse.Namespace, written: Document) -> tuple[Span, ...]:
    if written.quiet_hours is None:
        return ()
    with _named(arguments, "quiet_hours"):
        try:
            return parse_spans(written.quiet_hours)
        except ValueError as error:
            raise OperatorError(str(error)) from error


def _origins(arguments: argparse.Namespace, written: Document) -> dict[str, str]:
    """Return which values that are only tried later came from a file."""
    file = arguments.config or DEFAULT_FILE
    keys = {
        "database_url": written.database_url and not arguments.db,
        "log_path": written.log_path,
        "snapshots.directory": written.snapshots.directory,
    }
    return {key: file for key, is_from_file in keys.items() if is_from_file}


def _chosen_database(
    arguments: argparse.Namespace, written: Document, served: tuple[Root, ...]
) -> str:
    if arguments.db or not written.database_url:
        return _database(arguments.db, served)
    with _named(arguments, "database_url"):
        return _database(written.database_url, served)


def _database(given: str | None, served: tuple[Root, ...]) -> str:
    """Where nothing is given, each set of roots has its own log, so that two never mix."""
    if not given:
        return str(_state_home() / "nasfeed" / roots.state_directory_name(served) / "log.db")
    path = given.removeprefix("sqlite:///")  # then as in SQLAlchemy: a fourth slash is the root's
    if "://" in path or "\0" in path or not path:
        raise OperatorError(f"{given!r}: the database must be a file, or sqlite:/// and a file")
    absolute = Path(path).expanduser().absolute()
    if absolute.is_dir():
        raise OperatorError(f"{absolute}: this is a directory; the database must be a file")
    return str(absolute)


def _spockfs(arguments: argparse.Namespace, written: SpockfsSection) -> SpockfsSection:
    port = written.port if arguments.spockfs_port is None else arguments.spockfs_port
    if port is None and (arguments.spockfs or written.mounts):
        port = SPOCKFS_PORT
    return msgspec.structs.replace(written, port=port)


def _archive(written: Document) -> str | None:
    return str(Path(written.archive).expanduser().absolute()) if written.archive else None


def _state_home() -> Path:
    """See https://specifications.freedesktop.org/basedir-spec: a relative value does not count."""
    given = _environment("XDG_STATE_HOME")
    if given.startswith("/"):
        return Path(given)
    try:
        return Path.home() / ".local/state"
    except RuntimeError as error:
        raise OperatorError("there is no home directory; say where with --db FILE") from error


def _environment(name: str) -> str:
    return os.environ.get(name, "")  # noqa: TID251 - here, and nowhere else


def _workers(written: int | None) -> tuple[int, tuple[str, ...]]:
    """Return how many worker processes there are to be, and what is to be said about it."""
    most = WORKERS_A_CORE * _cores()
    if written is None or written <= most:
        return written or _cores(), ()
    return most, (
        f"metadata_workers: {written} are more than {_cores()} cores can keep busy; taking {most}",
    )


def _cores() -> int:
    """Return the cores this process may use, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0))


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:  # noqa: PLR2004 - 16 bits
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a whole number up to 65535")
    return int(text)
