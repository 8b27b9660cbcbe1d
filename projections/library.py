"""Questions asked of what the media library knows: on the writer's connection, or a reader's."""

from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeVar

import apsw

from eventlog import codec
from eventlog.connection import fetch
from eventlog.library import (
    Ended,
    Entity,
    Facts,
    Kind,
    LibraryEvent,
    Note,
    Session,
    Share,
    Trashed,
    Upload,
    User,
)
from projections.fold_entities import name_key

_FIELDS = (
    "select l.number, e.record from library_entities l join events e on e.position = l.position"
)
BY_NUMBER = f"{_FIELDS} where l.number = ? and l.kind = ? and l.about is not null"
BY_KEY = f"{_FIELDS} where l.kind = ? and l.key = ? order by l.number limit 1"
ALL_BY_KEY = f"{_FIELDS} where l.kind = ? and l.key = ? order by l.number"
BY_SUBJECT = f"{_FIELDS} where l.kind = ? and l.about = ? order by l.number"
BY_SUBJECTS = (
    f"{_FIELDS} where l.kind = ? and l.about in (select asked.value from json_each(?) asked)"  # noqa: S608
)
ALL = f"{_FIELDS} where l.kind = ? and l.about is not null order by l.about, l.number"

T = TypeVar("T", bound=Entity)


class Found(NamedTuple):
    """A live entity.

    Attributes:
        number: its number.
        state: what it is now.
    """

    number: int
    state: Entity


class Library:
    """What the library knows as one connection sees it.

    Args:
        connection: used by one thread at a time.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def user(self, number: int) -> User | None:
        """Return a user by number."""
        return self._one(User, BY_NUMBER, number, Kind.USER)

    def user_named(self, name: str) -> tuple[int, User] | None:
        """Return number and state of the user of a name, in upper or lower case."""
        return self._first(User, BY_KEY, Kind.USER, name_key(name))

    def users(self) -> list[tuple[int, User]]:
        """Return all users, the oldest first."""
        return list(self._all(User, ALL, Kind.USER))

    def session(self, token: bytes) -> tuple[int, Session] | None:
        """Return number and state of the session of a token's hash."""
        return self._first(Session, BY_KEY, Kind.SESSION, token)

    def sessions(self, user: int | None = None) -> list[tuple[int, Session]]:
        """Return the sessions of a user, or all."""
        if user is None:
            return list(self._all(Session, ALL, Kind.SESSION))
        return list(self._all(Session, BY_SUBJECT, Kind.SESSION, user))

    def note(self, node: int) -> tuple[int, Note] | None:
        """Return what was said of a node, and the number of that."""
        return self._first(Note, BY_SUBJECT, Kind.NOTE, node)

    def notes(self, nodes: Collection[int]) -> dict[int, Note]:
        """Return what was said of nodes, as `note` does for one, in one statement."""
        return {note.node: note for note in self._about(Note, Kind.NOTE, nodes)}

    def facts_of(self, nodes: Collection[int]) -> dict[int, Facts]:
        """Return what files say of themselves, as `facts` does for one, in one statement."""
        return {facts.node: facts for facts in self._about(Facts, Kind.FACTS, nodes)}

    def facts(self, node: int) -> tuple[int, Facts] | None:
        """Return what a file says of itself, and the number of that."""
        return self._first(Facts, BY_SUBJECT, Kind.FACTS, node)

    def paired(self, pair: str) -> list[Facts]:
        """Return what the files say of themselves that share the identifier of a live photo."""
        key = pair.encode("utf-8", "replace")
        return [facts for _, facts in self._all(Facts, ALL_BY_KEY, Kind.FACTS, key)]

    def share(self, key: bytes) -> tuple[int, Share] | None:
        """Return number and state of the share of a key's hash."""
        return self._first(Share, BY_KEY, Kind.SHARE, key)

    def share_numbered(self, number: int) -> Share | None:
        """Return a share by number."""
        return self._one(Share, BY_NUMBER, number, Kind.SHARE)

    def shares(self) -> list[tuple[int, Share]]:
        """Return all shares, in order of what is shared."""
        return list(self._all(Share, ALL, Kind.SHARE))

    def upload(self, number: int) -> Upload | None:
        """Return an upload by number."""
        return self._one(Upload, BY_NUMBER, number, Kind.UPLOAD)

    def uploads(self, user: int) -> list[tuple[int, Upload]]:
        """Return the uploads of a user that are no files yet."""
        return list(self._all(Upload, BY_SUBJECT, Kind.UPLOAD, user))

    def unfinished(self) -> list[tuple[int, Upload]]:
        """Return the uploads of all users that are no files yet."""
        return [found for user, _ in self.users() for found in self.uploads(user)]

    def uploaded(self, node: int) -> list[tuple[int, Upload]]:
        """Return the uploads that a file came of: one, or none."""
        return list(self._all(Upload, BY_SUBJECT, Kind.UPLOAD, node))

    def upload_keyed(self, key: str) -> tuple[int, Upload] | None:
        """Return number and state of the upload of a key."""
        return self._first(Upload, BY_KEY, Kind.UPLOAD, key.encode())

    def trashed(self, number: int) -> Trashed | None:
        """Return something in the trash by number."""
        found = self._one(Trashed, BY_NUMBER, number, Kind.TRASHED)
        return found if found and found.restored is None else None

    def trash(self) -> list[tuple[int, Trashed]]:
        """Return all that is in the trash, the oldest first."""
        found = self._all(Trashed, ALL, Kind.TRASHED)
        return [(number, state) for number, state in found if state.restored is None]

    def restored(self) -> list[tuple[int, Trashed]]:
        """Return what was put back while what was said of it has yet to follow."""
        found = self._all(Trashed, ALL, Kind.TRASHED)
        return [(number, state) for number, state in found if state.restored is not None]

    def is_live(self, kind: Kind, number: int) -> bool:
        """Say whether an entity has not ended."""
        return bool(fetch(self._connection, BY_NUMBER, (number, kind)))

    def everything(self) -> list[Found]:
        """Return all live entities, one kind after the other."""
        return [
            Found(number, _state(raw, number))
            for kind in Kind
            for number, raw in fetch(self._connection, ALL, (kind,))
        ]

    def _about(self, of: type[T], kind: Kind, nodes: Collection[int]) -> list[T]:
        """Return what is about some nodes; where there are several of one node, the oldest last."""
        found = sorted(self._all(of, BY_SUBJECTS, kind, f"[{','.join(map(str, nodes))}]"), key=_age)
        return [state for _, state in found]

    def _one(self, of: type[T], query: str, *bindings: object) -> T | None:
        found = self._first(of, query, *bindings)
        return None if found is None else found[1]

    def _first(self, of: type[T], query: str, *bindings: object) -> tuple[int, T] | None:
        return next(self._all(of, query, *bindings), None)

    def _all(self, of: type[T], query: str, *bindings: object) -> Iterator[tuple[int, T]]:
        for number, raw in fetch(self._connection, query, bindings):
            state = _state(raw, number)
            assert isinstance(state, of), f"entity {number} is no {of.__name__}"
            yield number, state


def _age(found: tuple[int, Entity]) -> int:
    return -found[0]


def _state(raw: bytes, number: int) -> Entity:
    event = codec.decode_any(raw, number)
    if isinstance(event, Ended) or not isinstance(event, LibraryEvent):
        raise TypeError(f"entity {number} is not what the table says; run nasfeed check")
    return event.state
