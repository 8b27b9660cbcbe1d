"""What is said of nodes, made from stored events."""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import UNSET, UnsetType, structs

from api.encode import SUPER_ROOT_FIELDS, changes, iso_time, shown
from api.past_query import to_token
from api.past_wire import (
    Children,
    EventKind,
    GoneNode,
    LiveNode,
    NodeEvent,
    NodeHistory,
    NotCovered,
)
from api.wire import Change, Node, Update
from eventlog.events import Created, Described, Modified, Moved, Removed
from eventlog.identifiers import NodeIds
from projections.overlay import Stored
from projections.past import Past, UncoveredError, Why
from projections.past_tree import PastTree

_KINDS: Final[dict[type, EventKind]] = {
    Created: "created",
    Modified: "modified",
    Moved: "moved",
    Described: "described",
    Removed: "removed",
}

_DETAILS: Final = {
    Why.AHEAD: "the log ends at position {head}",
    Why.LOST: "this position was lost when the log was restored",
    Why.FORGOTTEN: "what can be shown begins at position {earliest} ({since})",
}


class PastAnswers:
    """Turns what was read into what is said.

    Args:
        log_id: epoch of the positions.
        ids: of the log.
    """

    def __init__(self, log_id: str, ids: NodeIds) -> None:
        self._log_id = log_id
        self._ids = ids

    def super_root(self, tree: PastTree) -> LiveNode:
        """Return the node above all roots, which was always there."""
        return LiveNode(
            removed=False,
            node=Node(**SUPER_ROOT_FIELDS),
            position=tree.position,
            exact=tree.exact,
            changed=0,
            time=iso_time(0),
            log_id=self._log_id,
        )

    def node(self, tree: PastTree, stored: Stored) -> LiveNode | GoneNode:
        """Return a node, or its tombstone.

        Args:
            tree: in which it is shown.
            stored: its last event there.
        """
        change = self._changes([stored])[0]
        path, raw = _shown(tree.path(stored))
        common: dict[str, Any] = {
            **structs.asdict(change),
            "position": tree.position,
            "exact": tree.exact,
            "changed": stored.position,
            "time": iso_time(stored.time_us * 1000),
            "log_id": self._log_id,
            "path": path,
            "path_raw": raw,
        }
        return LiveNode(**common) if isinstance(change, Update) else GoneNode(**common)

    def children(self, tree: PastTree, page: list[Stored], limit: int) -> Children:
        """Return a page of a directory.

        Args:
            tree: in which it is shown.
            page: the children; one more than `limit` if there is a next page.
            limit: at most so many are said.
        """
        said = page[:limit]
        has_more = len(page) > limit
        return Children(
            position=tree.position,
            exact=tree.exact,
            children=[c.node for c in self._changes(said) if isinstance(c, Update)],
            after=to_token(said[-1].key) if has_more else None,
            has_more=has_more,
            log_id=self._log_id,
        )

    def history(self, past: Past, page: list[Stored], after: int, limit: int) -> NodeHistory:
        """Return a page of the events of a node.

        Args:
            past: where they were read.
            page: the events; one more than `limit` if there is a next page.
            after: the position that was asked for.
            limit: at most so many are said.
        """
        said = page[:limit]
        return NodeHistory(
            events=[
                self._event(past, stored, change)
                for stored, change in zip(said, self._changes(said), strict=True)
            ],
            after=said[-1].position if said else after,
            has_more=len(page) > limit,
            earliest=past.coverage.earliest,
            log_id=self._log_id,
        )

    def not_covered(self, error: UncoveredError) -> NotCovered:
        """Return the refusal of a position that is not known, with what can be asked instead."""
        earliest, earliest_us, head = error.coverage
        # What was so before a time is shown: so it must be one that is later than that event.
        since = iso_time((earliest_us + 1) * 1000) if earliest_us else ""
        return NotCovered(
            error=error.why.value,
            detail=_DETAILS[error.why].format(head=head, earliest=earliest, since=since),
            log_id=self._log_id,
            earliest=earliest,
            earliest_time=since,
            head=head,
        )

    def _event(self, past: Past, stored: Stored, change: Change) -> NodeEvent:
        event = stored.event
        said = NodeEvent(
            position=stored.position,
            time=iso_time(stored.time_us * 1000),
            event=_KINDS[type(event)],
            author=event.author,
        )
        if isinstance(change, Update):
            said.node = change.node
        else:
            said.removal = change
        if isinstance(event, Described) and event.problem:
            said.problem = event.problem
        if isinstance(event, Moved | Removed):
            said.path, said.path_raw = _shown(past.path_then(stored))
        if isinstance(event, Moved):
            said.from_parent_id = self._ids.to_id(event.from_parent)
            said.from_name, said.from_name_raw = shown(event.from_name)
            said.from_path, said.from_path_raw = _shown(past.path_before(stored))
        return said

    def _changes(self, page: Iterable[Stored]) -> list[Change]:
        return changes([(s.position, s.node, s.record) for s in page], self._ids)


def _shown(path: bytes | None) -> tuple[str | UnsetType, str | UnsetType]:
    return (UNSET, UNSET) if path is None else shown(path)
