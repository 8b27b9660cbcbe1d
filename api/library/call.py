"""What a request of the library is, once it is known who makes it."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from api.beneath.root import Beneath
from api.beneath.staging import Staging
from api.library.parameters import Parameters
from api.library.wire import NO_RIGHT, NOT_FOUND, Json, LibraryError
from api.served import ServedRoot
from eventlog.clock import Clock
from eventlog.library import User
from projections.library_store import LibraryStore, View
from projections.media import Row
from projections.tree import Node

FACE: Final = "library"

SECOND_US: Final = 1_000_000


class Settings(NamedTuple):
    """How the library is served; times in seconds.

    Attributes:
        online_max: sessions there may be.
        online_seconds: how long one may idle.
        shares_max: shares there may be.
        share_seconds: how long one lasts.
        upload_seconds: how long an upload may idle.
        upload_max: the largest file that is taken, bytes; None for any.
        trash_days: how long what was deleted is kept.
        trash_bytes: how much of it in each root; None for any.
    """

    online_max: int = 100
    online_seconds: float = 3600
    shares_max: int = 1000
    share_seconds: float = 1800
    upload_seconds: float = 86_400
    upload_max: int | None = None
    trash_days: float = 30
    trash_bytes: int | None = None


class Place(NamedTuple):
    """A root that the library serves.

    Attributes:
        name: as configured.
        root: whoever observes it.
        beneath: access to its files.
        staging: where uploads are written.
    """

    name: str
    root: ServedRoot
    beneath: Beneath
    staging: Staging


class Service(NamedTuple):
    """All that requests work with.

    Attributes:
        store: of what the library knows.
        places: the roots by name.
        clock: time.
        settings: how it is served.
    """

    store: LibraryStore
    places: Mapping[str, Place]
    clock: Clock
    settings: Settings

    @property
    def now_us(self) -> int:
        """The time, microseconds since 1970 UTC."""
        return self.clock.now_us()


class Who(NamedTuple):
    """Who makes a request.

    Attributes:
        number: of the user.
        user: what is known of the user.
        token: hash of the session's token.
    """

    number: int
    user: User
    token: bytes

    @property
    def author(self) -> str:
        """The name for the log."""
        return f"{FACE}:{self.user.name}"


class Reading:
    """What one request sees of the library, in one read transaction.

    Args:
        view: in that transaction.
        user: whose rights count.
        service: what the library is.
    """

    def __init__(self, view: View, user: User, service: Service) -> None:
        self.library = view.library
        self.tree = view.tree
        self.media = view.media
        self._service = service
        self._rights = {right.root: right.write for right in user.rights}
        self.roots: dict[int, str] = {}
        for node in self.tree.children(0):
            name = node.state.name.decode("utf-8", "replace")
            if name in self._rights and name in service.places:
                self.roots[node.number] = name

    def row(self, number: int, *, write: bool = False) -> Row:
        """Return a catalog or file that the user may read, or change.

        Raises:
            LibraryError: there is none that the user may see; or it may only be read.
        """
        row = self.media.row(number) or self._uploaded(number)
        if row is None or row.root not in self.roots:
            raise LibraryError(NOT_FOUND)
        if write:
            self.check_write(row.root)
        return row

    def _uploaded(self, number: int) -> Row | None:
        """Return the file of an upload: clients go on to call it by the upload's number."""
        upload = self.library.upload(number)
        return self.media.row(upload.note.node) if upload and upload.note.node else None

    def catalog(self, number: int, *, write: bool = False) -> Row:
        """Return a catalog as `row` does.

        Raises:
            LibraryError: see `row`; or it is a file.
        """
        row = self.row(number, write=write)
        if not row.is_catalog:
            raise LibraryError(NOT_FOUND)
        return row

    def file(self, number: int, *, write: bool = False) -> Row:
        """Return a file as `row` does.

        Raises:
            LibraryError: see `row`; or it is a catalog.
        """
        row = self.row(number, write=write)
        if row.is_catalog:
            raise LibraryError(NOT_FOUND)
        return row

    def check_write(self, root: int) -> None:
        """Refuse a change in a root that may only be read.

        Raises:
            LibraryError: with the code for that.
        """
        if not self._rights[self.roots[root]]:
            raise LibraryError(NO_RIGHT)

    def may_write(self, name: str) -> bool:
        """Say whether the user may change what is in the root of a name."""
        return name in self.roots.values() and self._rights[name]

    def node(self, number: int) -> Node:
        """Return the node of a row.

        Raises:
            LibraryError: it has gone.
        """
        node = self.tree.node(number)
        if node is None:
            raise LibraryError(NOT_FOUND)
        return node

    def path(self, number: int) -> tuple[Place, bytes]:
        """Return the root of a node and its path there, raw.

        Raises:
            LibraryError: it has gone.
        """
        chain = self.tree.chain(number)
        if not chain or chain[0][0] not in self.roots:
            raise LibraryError(NOT_FOUND)
        place = self._service.places[self.roots[chain[0][0]]]
        return place, b"/".join(name for _, name in chain[1:])


class Call(NamedTuple):
    """A request.

    Attributes:
        service: what it works with.
        parameters: what came along.
        who: makes it; None: nobody who is known.
        address: of the client.
        fields: of the header, names in lower case.
    """

    service: Service
    parameters: Parameters
    who: Who | None
    address: str
    fields: Mapping[str, str]

    @property
    def known(self) -> Who:
        """Who makes it, in requests that only known users may make."""
        assert self.who is not None, "the route needs a session"
        return self.who

    def reading(self) -> "ReadingContext":
        """Lend what the request sees."""
        return ReadingContext(self.service, self.known.user)


class ReadingContext:
    """Lends a `Reading`.

    Args:
        service: what the library is.
        user: whose rights count.
    """

    def __init__(self, service: Service, user: User) -> None:
        self._service = service
        self._user = user
        self._lent = service.store.reading()

    def __enter__(self) -> Reading:
        return Reading(self._lent.__enter__(), self._user, self._service)

    def __exit__(self, *error: object) -> None:
        self._lent.__exit__(*error)  # type: ignore[arg-type]  # as it came


class Reply(NamedTuple):
    """An answer in the envelope.

    Attributes:
        data: for the client; None: nothing.
        more: what stands beside it.
        fields: of the header.
    """

    data: object = None
    more: Json | None = None
    fields: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Call], Reply]
