"""The configuration file as written: the keys of wcpan.drive.feed 1.6.0, and our own."""

import difflib
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import msgspec
import yaml

from tools.errors import OperatorError

BackendName = Literal["auto", "inotify", "fanotify", "poll"]
LogLevel = Literal["debug", "info", "warning", "error"]
Startup = Literal["serve", "wait"]

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Workers = Annotated[int, msgspec.Meta(ge=1, le=256)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
Versions = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[int, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(gt=0)]
Days = Annotated[float, msgspec.Meta(ge=0, le=36_500)]
Rate = Annotated[float, msgspec.Meta(ge=0)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Hours = Annotated[float, msgspec.Meta(ge=0)]

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "keys and values",
    "null": "nothing",
}
"""What the decoder's type names are called in messages."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mapping of the file with known keys."""


class WatcherSection(Section, frozen=True):
    """How changes are noticed.

    Attributes:
        backend: which kernel interface, or `auto`.
        removal_percent: of a root of over 1,000 nodes, that one comparison may find missing and
            remove without `nasfeed confirm-removal`; 100: all.
    """

    backend: BackendName = "auto"
    removal_percent: Percent = 50


class ApiSection(Section, frozen=True):
    """Who may ask.

    Attributes:
        token: a secret that every request must carry as a bearer token; none when absent.
        hosts: names, beside the machine's own, under which the server is reached.
    """

    token: str | None = None
    hosts: tuple[str, ...] = ()


class LimitsSection(Section, frozen=True):
    """What one client, and all clients together, may take.

    Attributes:
        connections: open connections altogether.
        connections_per_client: open connections of one address.
        request_seconds: for a request to arrive whole.
        streams: streams, and long polls that wait, altogether.
    """

    connections: Count = 1000
    connections_per_client: Count = 256
    request_seconds: Seconds = 20
    streams: Count = 500


class SnapshotsSection(Section, frozen=True):
    """When the state of the tree is written to a file of its own, and how long that is kept.

    Attributes:
        interval_hours: between snapshots; 0: only before a compaction and when asked for.
        keep: how many at most.
        keep_days: none older than this, except the newest.
        directory: where they are; beside the database when absent.
    """

    interval_hours: Hours = 24
    keep: Count = 14
    keep_days: Days = 90
    directory: str | None = None


class WebhookSection(Section, frozen=True):
    """Who is told that there is news.

    Attributes:
        url: where messages are posted to.
        secret: signs them: `whsec_` and base64, or any text of at least 24 bytes.
    """

    url: str
    secret: str


class FiletrackerSection(Section, frozen=True):
    """The versioned file store.

    Attributes:
        root: name of the watched directory that holds its files; without it there is no store.
        prefix: path under which it is served; none: at the root of the server.
        tokens: secrets of those who may use it, by name; none: `api.token`, or else anyone may.
        read_tokens: secrets of those who may only read.
        max_file_size: the largest file that is taken, bytes; none: any.
        quota: bytes that files and old versions may take together; none: what the disk has.
        keep_versions: old versions of each file that are kept; none: all.
        keep_days: how long old versions are kept; none: for ever.
        fallback_url: server that clients are sent to for files that are missing.
        gzip_cache: bytes that compressed contents may take together; 0: nothing is compressed.
    """

    root: str | None = None
    prefix: str | None = None
    tokens: dict[str, str] | None = None
    read_tokens: dict[str, str] | None = None
    max_file_size: Count | None = None
    quota: Count | None = None
    keep_versions: Versions | None = None
    keep_days: Days | None = None
    fallback_url: str | None = None
    gzip_cache: Amount | None = None


class SpockfsSection(Section, frozen=True):
    """The filesystem over HTTP.

    Attributes:
        port: to listen on; 0 takes a free one; none: there is no filesystem, unless it is asked
            for on the command line or has mounts.
        host: address to listen on.
        mounts: what is where: a mount point such as `/photos`, and an absolute directory or the
            name of a root; none: the only root at `/`, or each of several at its name.
        read_only: mount points under which nothing may be changed.
        privileged: mount points under which devices, owners and set-user-ID bits are allowed.
        xattr_limit: bytes of the value of an extended attribute.
        users: passwords of those who may use it, by name; none: `api.token`, or else anyone may.
        read_users: passwords of those who may only read.
        insecure: anyone may use it, also from other machines.
    """

    port: Port | None = None
    host: str = "127.0.0.1"
    mounts: dict[str, str] | None = None
    read_only: tuple[str, ...] = ()
    privileged: tuple[str, ...] = ()
    xattr_limit: Amount = 65_536
    users: dict[str, str] | None = None
    read_users: dict[str, str] | None = None
    insecure: bool = False


class LibrarySection(Section, frozen=True):
    """The family media library; times in seconds.

    Attributes:
        enabled: whether there is one; who may use it is told by `nasfeed library user`.
        online_threshold: how many may be logged in at once.
        online_timeout: how long a login lasts that is not used.
        share_url_threshold: how many shares there may be at once.
        share_url_timeout: how long a share lasts.
        upload_timeout: how long an upload is kept that does not go on.
        upload_max: bytes of the largest file that is taken; none: any.
        default_user_path: directory of the root for users who are made without rights; none: they
            have no root at first.
        thumb_path: directory of thumbnails; beside the database when absent.
        thumb_bytes: bytes that they may take together.
        thumb_workers: processes that make them.
        trash_days: how long what was deleted is kept.
        trash_bytes: bytes of it in each root; the oldest goes first; none: any.
    """

    enabled: bool = False
    online_threshold: Count = 100
    online_timeout: Seconds = 3600
    share_url_threshold: Count = 1000
    share_url_timeout: Seconds = 1800
    upload_timeout: Seconds = 86400
    upload_max: Count | None = None
    default_user_path: str | None = None
    thumb_path: str | None = None
    thumb_bytes: Count = 1073741824
    thumb_workers: Workers = 1
    trash_days: Days = 30
    trash_bytes: Count | None = None


class Document(Section, frozen=True):
    """The whole file.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        database_url: the database file, or `sqlite:///` and the file.
        watches: name and directory of each root.
        exclude: name patterns, beside the built-in ones, of what stays out of the feed.
        log_path: file that log lines are appended to, instead of standard error.
        metadata_workers: processes that read files; one for each core when absent.
        metadata_rate: megabytes a second that all of these together read at most; 0: any.
        quiet_hours: times of day, as `23:00-07:00`, in which disks are left to sleep.
        skip_initial_hash: leave `hash` empty for files found by the first scan.
        watcher, api, limits, snapshots, filetracker, spockfs, library: see their sections.
        webhooks: who is told that there is news.
        startup: `serve` the stored log at once after a restart, or `wait` for the scan (503).
        rescan_interval: seconds between full comparisons with the disk.
        poll_interval: seconds between the looks of the `poll` backend.
        log_level: the least important lines that are shown.
        history_days: how long every event is kept; of older ones the last of each node.
        archive: directory that keeps all events before any is dropped; none when absent.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the default of the file's first reader
    port: Port = 8080
    database_url: str | None = None
    watches: dict[str, str] | None = None
    exclude: tuple[str, ...] | None = None
    log_path: str | None = None
    metadata_workers: Workers | None = None
    metadata_rate: Rate = 0
    quiet_hours: str | None = None
    skip_initial_hash: bool = False
    watcher: WatcherSection = WatcherSection()
    api: ApiSection = ApiSection()
    limits: LimitsSection = LimitsSection()
    snapshots: SnapshotsSection = SnapshotsSection()
    webhooks: tuple[WebhookSection, ...] = ()
    filetracker: FiletrackerSection = FiletrackerSection()
    spockfs: SpockfsSection = SpockfsSection()
    library: LibrarySection = LibrarySection()
    startup: Startup = "serve"
    rescan_interval: Seconds = 3600
    poll_interval: Seconds = 10
    log_level: LogLevel = "info"
    history_days: Days = 30
    archive: str | None = None


def parse(text: str, file: str) -> Document:
    """Read a configuration file.

    Args:
        text: its YAML.
        file: its name, for errors.

    Returns:
        What it says, with defaults for what it leaves out.

    Raises:
        OperatorError: it is no YAML, or a key is unknown, twice there, or has a wrong value; the
            message names file, line and key.
    """
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise OperatorError(_yaml_problem(error, file)) from error
    lines: dict[str, int] = {}
    for path, line in _keys(tree, "$"):
        if path in lines:
            raise OperatorError(f"{file}:{line}: the key {_shown(path)} is here a second time")
        lines[path] = line
    if not isinstance(values, dict):
        raise OperatorError(f"{file}: this is no list of keys and values")
    try:
        return msgspec.convert(values, Document)
    except msgspec.ValidationError as error:
        raise OperatorError(_problem(str(error), values, file, lines)) from error


def known_keys(section: type[msgspec.Struct] = Document, prefix: str = "") -> list[str]:
    """Return every key that the file may have, dotted, in order."""
    keys: list[str] = []
    for field in msgspec.structs.fields(section):
        nested = isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
        name = f"{prefix}{field.encode_name}"
        keys += known_keys(field.type, f"{name}.") if nested else [name]
    return keys


def _keys(node: yaml.Node | None, path: str) -> Iterator[tuple[str, int]]:
    """Yield the path and line of every key: of the file, its sections, and lists of sections."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{path}.{key.value}"
            yield name, key.start_mark.line + 1
            # An anchor could make the file contain itself; no known key lies deeper.
            if path == "$":
                for below, section in _sections(value, name):
                    yield from _keys(section, below)


def _sections(node: yaml.Node, path: str) -> Iterator[tuple[str, yaml.Node]]:
    if isinstance(node, yaml.SequenceNode):
        yield from ((f"{path}[{index}]", each) for index, each in enumerate(node.value))
    else:
        yield path, node


def _yaml_problem(error: yaml.YAMLError, file: str) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{file}:{mark.line + 1}: {problem}" if mark else f"{file}: {problem}"


def _problem(message: str, values: dict[Any, Any], file: str, lines: dict[str, int]) -> str:
    """Turn the decoder's message into one that names the key as the operator wrote it."""
    what, _, where = message.partition(" - at ")
    path = _path(where, values)
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", what)
    if unknown:
        path = f"{path}.{unknown[1]}"
        what = f"unknown key {_shown(path)}{_suggestion(_shown(path))}"
    elif where.startswith("`key`"):
        what = f"a key of {_shown(path)} is no text; put it in quotes"
    else:
        what = f"{_shown(path)}: {_plain(what, _shown(path))}"
    line = lines.get(path) or lines.get(path.partition("[")[0])
    return f"{file}:{line}: {what}" if line else f"{file}: {what}"


def _plain(what: str, key: str) -> str:
    """Say in plain words what the decoder says in its own."""
    if what.startswith("Invalid enum value"):
        found = what.removeprefix("Invalid enum value ")
        return f"must be one of {', '.join(_choices(key))}, not {found}"
    words = re.sub(r"\b(str|int|float|bool|array|object|null)\b", lambda m: _WORDS[m[0]], what)
    return f"{words[0].lower()}{words[1:]}".replace("`", "").replace(" | ", " or ")


def _choices(key: str) -> tuple[str, ...]:
    section: Any = Document
    for name in key.split("."):
        section = next(f.type for f in msgspec.structs.fields(section) if f.encode_name == name)
    return get_args(section)


def _path(where: str, values: dict[Any, Any]) -> str:
    """Return the path of a value; the decoder leaves out which value of a free mapping it is."""
    path = where.rpartition(" in ")[2].strip("`") or "$"
    if path.endswith("[...]") and not where.startswith("`key`"):
        path = path.removesuffix("[...]")
        mapping = values
        for key in path.removeprefix("$.").split("."):
            mapping = mapping[key]
        return f"{path}.{next(key for key, value in mapping.items() if not isinstance(value, str))}"
    return path.removesuffix("[...]")


def _shown(path: str) -> str:
    return path.removeprefix("$.")


def _suggestion(key: str) -> str:
    close = difflib.get_close_matches(key, known_keys(), n=1)
    return f"; did you mean {close[0]}?" if close else f"; known keys are {', '.join(known_keys())}"
