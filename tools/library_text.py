"""Events of the media library in words. No secret leaves by this way, hashed ones included."""

from typing import Any

import msgspec

from eventlog.library import (
    Ended,
    FactsFound,
    Kind,
    LibraryEvent,
    NoteChanged,
    SessionChanged,
    ShareChanged,
    TrashChanged,
    UploadChanged,
    UserChanged,
)
from tools.text import printable, shown_bytes

LIBRARY_KINDS: dict[type, str] = {
    UserChanged: "user",
    SessionChanged: "session",
    NoteChanged: "note",
    FactsFound: "facts",
    ShareChanged: "share",
    UploadChanged: "upload",
    TrashChanged: "trash",
    Ended: "ended",
}

_SECRET = frozenset({"password", "token", "key"})


def about(event: LibraryEvent) -> str:
    """Return in a few words what an event is about."""
    match event:
        case UserChanged(state=user):
            return printable(user.name)
        case SessionChanged(state=session):
            return f"of user {session.user} from {printable(session.address)}"
        case NoteChanged(state=note) | FactsFound(state=note) | ShareChanged(state=note):
            return f"of node {note.node}"
        case UploadChanged(state=upload):
            return f"of {printable(upload.name)} into node {upload.catalog}"
        case TrashChanged(state=trashed):
            return f"{printable(trashed.root)}/{shown_bytes(trashed.path)}"
        case Ended():
            return f"{Kind(event.kind).name.lower()} {printable(event.reason)}"


def fields(event: LibraryEvent) -> dict[str, Any]:
    """Return all that an event says, for JSON, but for what could be used to get in."""
    if isinstance(event, Ended):
        return {"kind": Kind(event.kind).name.lower(), "reason": event.reason}
    state = msgspec.structs.asdict(event.state)
    return {"state": {key: _plain(value) for key, value in state.items() if key not in _SECRET}}


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, msgspec.Struct):
        return {key: _plain(each) for key, each in msgspec.structs.asdict(value).items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
