"""Events as lines, for people and for programs."""

import base64
import stat

import msgspec

from eventlog.events import (
    SUPER_ROOT,
    Content,
    Created,
    Described,
    Event,
    Modified,
    Moved,
    Record,
    Removed,
    State,
)
from eventlog.identifiers import NodeIds
from eventlog.library import LibraryEvent
from projections.last_paths import LastPaths
from tools import library_text
from tools.library_text import LIBRARY_KINDS
from tools.text import local_time, printable, shown_bytes, size, utc_time

KINDS: dict[type, str] = {
    Created: "created",
    Modified: "modified",
    Moved: "moved",
    Described: "described",
    Removed: "removed",
    **LIBRARY_KINDS,
}
"""What each kind of event is called."""

_FORMS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "char_device",
    stat.S_IFBLK: "block_device",
}

Fields = dict[str, object]


class Shower:
    """Turns records into lines.

    Args:
        paths: says where nodes are.
        ids: gives nodes their public ids.
    """

    def __init__(self, paths: LastPaths, ids: NodeIds) -> None:
        self._paths = paths
        self._ids = ids

    def table_line(self, record: Record) -> str:
        """Return a line for people: position, time, kind, what it is about."""
        event = record.event
        start = f"{record.position:>10}  {local_time(record.time_us)}  {KINDS[type(event)]:<9}"
        by = f"  by {printable(event.author)}" if event.author else ""
        if isinstance(event, LibraryEvent):
            return f"{start}  {library_text.about(event)}{by}\n"
        path = shown_bytes(self._paths.of(event))
        if isinstance(event, Moved):
            path = f"{shown_bytes(self._paths.join(event.from_parent, event.from_name))} → {path}"
        mode = event.mode if isinstance(event, Removed) else event.state.mode
        slash = "/" if stat.S_ISDIR(mode) else ""
        return f"{start}  {path}{slash}{_detail(event)}{by}\n"

    def json_line(self, record: Record) -> str:
        """Return a line for programs, with everything that the log holds of the event."""
        event = record.event
        fields: Fields = {
            "position": record.position,
            "time": utc_time(record.time_us),
            "event": KINDS[type(event)],
            "node": record.node,
            "id": self._ids.to_id(record.node),
            "author": event.author,
        }
        if isinstance(event, LibraryEvent):
            fields |= library_text.fields(event)
            return msgspec.json.encode(fields).decode() + "\n"
        fields |= text_fields("path", self._paths.of(event))
        match event:
            case Removed():
                fields |= {"reason": event.reason, **self._place(event.parent, event.name)}
                fields |= {"kind": _form(event.mode), "mode": event.mode}
                fields |= text_fields("target", event.target) if event.target else {}
            case Moved():
                before = self._paths.join(event.from_parent, event.from_name)
                fields |= text_fields("from_path", before) | {"state": self.state(event.state)}
            case Described():
                fields |= {"problem": event.problem, "state": self.state(event.state)}
            case Created() | Modified():
                fields |= {"state": self.state(event.state)}
        return msgspec.json.encode(fields).decode() + "\n"

    def id(self, number: int) -> str:
        """Return the public id of a node."""
        return self._ids.to_id(number)

    def state(self, state: State) -> Fields:
        """Return all that is known of a node, for JSON."""
        return {
            **self._place(state.parent, state.name),
            "kind": _form(state.mode),
            "mode": state.mode,
            "size": state.size,
            "mtime_ns": state.mtime_ns,
            "ctime_ns": state.ctime_ns,
            "fs": state.fs,
            "ino": state.ino,
            "uid": state.uid,
            "gid": state.gid,
            "nlink": state.nlink,
            **(text_fields("target", state.target) if state.target else {}),
            "content": Content(state.content).name.lower(),
            "hash": state.hash.hex(),
            "mime_type": state.mime,
            "width": state.width,
            "height": state.height,
            "ms_duration": state.duration_ms,
        }

    def _place(self, parent: int, name: bytes) -> Fields:
        above = None if parent == SUPER_ROOT else parent
        return {"parent": above, "parent_id": self._ids.to_id(parent), **text_fields("name", name)}


def _detail(event: Event) -> str:
    """Return what is worth a person's while about an event, in a few words."""
    if isinstance(event, Removed):
        return f"  {event.reason.replace('_', ' ')}"
    if isinstance(event, Described) and event.problem:
        return f"  {printable(event.problem)}"
    state = event.state
    parts = state_detail(state)
    if state.hash and isinstance(event, Described):
        parts.append(state.hash.hex())
    return f"  {'  '.join(parts)}" if parts else ""


def state_detail(state: State) -> list[str]:
    """Return what is worth a person's while about a state, as short texts."""
    parts = [size(state.size)] if state.is_file else []
    if state.target and stat.S_ISLNK(state.mode):
        parts.append(f"→ {shown_bytes(state.target)}")
    return parts


def text_fields(key: str, raw: bytes) -> Fields:
    """Return bytes as text, and as base64 beside it when the text cannot show them all."""
    try:
        return {key: raw.decode()}
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "replace")
        return {key: shown, f"{key}_raw": base64.b64encode(raw).decode("ascii")}


def _form(mode: int) -> str:
    return _FORMS.get(stat.S_IFMT(mode), "unknown")
