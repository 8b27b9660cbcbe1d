"""Tells what a page of the feed changes in a mirror: new, changed, moved or gone.

Unlike `tools.sightings`, it knows every node, also from earlier runs, so it is never wrong; and
when everything had to be read anew, it tells only what is another than before.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tools.client.mirror import Mirror, Nodes, trail
from tools.client.wire import Node, Page
from tools.sightings import CREATED, GONE, MODIFIED, MOVED, Sighting


class MirrorSightings:
    """What changes in a mirror.

    Args:
        mirror: what was known; `see` applies pages to it.
        ask_path: asks the server where a node is, which is done for roots only.
    """

    def __init__(self, mirror: Mirror, ask_path: Callable[[str], str | None]) -> None:
        self._mirror = mirror
        self._ask_path = ask_path
        self._tops: dict[str, str] = {}

    def see(self, page: Page) -> list[tuple[Sighting, dict[str, Any]]]:
        """Apply a page.

        Returns:
            What happened, each with the change as JSON; nothing while everything is read anew,
            and then all at once.

        Raises:
            ProtocolError: it holds what is no change.
        """
        mirror, old = self._mirror, self._mirror.nodes
        changed = [change.id for change in page.decoded()] if mirror.is_whole else []
        # Their places, too, for the page may move the directories above them.
        places = {each: self._place(old, each) for each in changed if each in old}
        before = {each: old[each] for each in places}
        mirror.apply(page)
        if mirror.nodes is not old:
            changed = [*old, *(each for each in mirror.nodes if each not in old)]
            found = self._differences(changed, old, {})
            return sorted(found, key=lambda pair: pair[0].path)
        return self._differences(changed, before, places) if mirror.is_whole else []

    def _differences(
        self, changed: Iterable[str], before: Nodes, places: dict[str, str]
    ) -> list[tuple[Sighting, dict[str, Any]]]:
        found = []
        for each in changed:
            old, new = before.get(each), self._mirror.nodes.get(each)
            if old != new:
                place = "" if old is None else places.get(each) or self._place(before, each)
                found.append((self._sighting(old, place, new), _change(old, new)))
        return found

    def _sighting(self, old: Node | None, place: str, new: Node | None) -> Sighting:
        if new is None:
            assert old is not None
            return Sighting(GONE, place, "", old.is_directory, None)
        size = None if new.is_directory else new.size
        path = self._place(self._mirror.nodes, new.id)
        if old is None:
            return Sighting(CREATED, path, "", new.is_directory, size)
        moved = (old.parent_id, old.name) != (new.parent_id, new.name)
        change, source = (MOVED, place) if moved else (MODIFIED, "")
        return Sighting(change, path, source, new.is_directory, size)

    def _place(self, nodes: Nodes, node_id: str) -> str:
        node = nodes[node_id]
        way = trail(nodes, node)
        if way is None:
            return f"…/{node.name}"
        top = way[0]
        if top.id not in self._tops:
            self._tops[top.id] = self._ask_path(top.id) or top.name
        return "/".join([self._tops[top.id], *(each.name for each in way[1:])])


def _change(old: Node | None, new: Node | None) -> dict[str, Any]:
    """Return a difference in the form of the feed."""
    if new is not None:
        return {"removed": False, "node": msgspec.to_builtins(new)}
    assert old is not None
    gone = {"node_id": old.id, "parent_id": old.parent_id, "name": old.name}
    return {"removed": True} | gone | {"is_directory": old.is_directory}
