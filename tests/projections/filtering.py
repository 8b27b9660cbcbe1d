"""What the tests of the filtered feed share: filters, what matches them, and a client."""

from collections.abc import Callable, Iterable

import apsw
import msgspec
from hypothesis import strategies as st

from eventlog import codec
from eventlog.events import Event, Removed, State
from projections.bootstrap import Bootstrap
from projections.changes import HEAD
from projections.filter import KINDS, Filter
from projections.filtered import FilteredPage, read_below, read_page
from tests.strategies import SHORT_NAMES, History

MIMES = ("", "image/png", "video/mp4")

FILTERS = st.builds(
    Filter,
    root=st.sampled_from([None, None, *SHORT_NAMES[:2]]),
    under=st.sampled_from([None, 3, 3, 4, 5, 6, 12]),
    mimes=st.sampled_from([(), (), (), ("image/",), ("video/", "x")]),
    kinds=st.sampled_from([(), (), (), ("file",), ("directory",)]),
)


class TypedHistory(History):
    """A history in which files have MIME types that change."""

    def put(self, node: int, event: Event) -> None:
        if not isinstance(event, Removed) and not event.state.is_directory:
            state = msgspec.structs.replace(event.state, mime=MIMES[event.state.size % len(MIMES)])
            event = msgspec.structs.replace(event, state=state)
        super().put(node, event)


def matching(states: dict[int, State], wanted: Filter) -> dict[int, State]:
    """Return the nodes that match, the plain way."""
    return {n: s for n, s in states.items() if is_match(states, wanted, n, s)}


def is_match(states: dict[int, State], wanted: Filter, number: int, state: State) -> bool:
    kind = KINDS[state.mode & 0o170000]
    if wanted.kinds and kind not in wanted.kinds:
        return False
    if wanted.mimes and not any(state.mime.startswith(mime) for mime in wanted.mimes):
        return False
    way = upwards(states, number)
    if wanted.under and wanted.under not in way:
        return False
    top = states.get(way[-1])
    is_rooted = top is not None and top.parent == 0
    return wanted.root is None or (is_rooted and states[way[-1]].name == wanted.root)


def upwards(states: dict[int, State], number: int) -> list[int]:
    way: list[int] = []
    while number in states and number not in way:
        way.append(number)
        number = states[number].parent
    return way


class Client:
    """Someone who knows only what a filtered feed said."""

    def __init__(self, wanted: Filter, *, sends_since: bool) -> None:
        self.wanted = wanted
        self.sends_since = sends_since
        self.cursor = self.since = 0
        self.states: dict[int, State] = {}
        self.told = 0
        self.pointless = 0

    def poll(
        self, connection: apsw.Connection, limit: int, meanwhile: Callable[[], None] = lambda: None
    ) -> FilteredPage:
        """Fetch a page and fold it, with whatever happens before its last parts are read."""
        since = self.since if self.sends_since else 0
        page = read_page(connection, self.wanted, self.cursor, since, limit)
        assert page.cursor > self.cursor or not page.has_more
        self._fold(page.rows)
        numbers = list(page.below)
        for start in range(0, len(numbers), 2):
            meanwhile()
            part = numbers[start : start + 2]
            self._fold(read_below(connection, self.wanted, self.cursor, since, part))
        self.cursor, self.since = page.cursor, page.since
        return page

    def begin_with_snapshot(
        self, connection: apsw.Connection, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        """Forget everything and begin with a snapshot, with whatever happens between its pages."""
        walk = Bootstrap(connection.execute(HEAD).get or 0, self.wanted)
        self.states.clear()
        while not walk.is_done:
            self._fold(walk.page(connection))
            meanwhile()
        self.cursor = self.since = walk.position

    def drain(self, connection: apsw.Connection) -> None:
        while self.poll(connection, 3).has_more:
            pass

    def _fold(self, rows: Iterable[tuple[int, int, bytes]]) -> None:
        for position, number, record in rows:
            self.told += 1
            found = codec.decode(record, position)
            if isinstance(found, Removed):
                self.pointless += self.states.pop(number, None) is None
            else:
                self.states[number] = found.state
