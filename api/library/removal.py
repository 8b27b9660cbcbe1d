"""Deletes catalogs as people see them: with what is shown in them, and with nothing else.

What lies in a directory and is shown elsewhere is moved on the disk to where it is shown, before
the directory goes to the trash. What lies elsewhere and is shown in it goes to the trash itself.
"""

import os
from collections.abc import Sequence

import msgspec

from api.library.call import Reading, Service, Who
from api.library.names import unique
from api.library.targets import Target, at, moved_is_stale
from api.library.trash import Trash
from api.library.wire import DELETE_FAILED, LibraryError
from api.served import RootUnavailableError, Touched
from projections.library_store import Change


class Removal:
    """Deletes catalogs and files for somebody.

    Args:
        service: what the library is.
        who: deletes, and may.
    """

    def __init__(self, service: Service, who: Who) -> None:
        self._service = service
        self._who = who
        self._trash = Trash(service)

    def remove(self, number: int) -> None:
        """Put a catalog or file, and all that is shown in it, into the trash.

        Args:
            number: of its node.

        Raises:
            LibraryError: not all of it could be moved there, or to where it is shown.
        """
        with self._service.store.reading() as view:
            reading = Reading(view, self._who.user, self._service)
            if not reading.row(number).is_catalog:
                absent, guests = [], []
            else:
                absent, guests = _shown_elsewhere(reading, number), _guests(reading, number)
        for node, catalog in absent:
            self._move(node, catalog)
        self._trash.put(self._who, number)
        for guest in guests:
            self._remove_guest(guest)

    def _remove_guest(self, number: int) -> None:
        """Delete what was shown in a deleted catalog, unless it has gone with another one."""
        with self._service.store.reading() as view:
            is_there = view.media.row(number) is not None
        if is_there:
            self.remove(number)

    def _move(self, number: int, catalog: int) -> None:
        """Move something on the disk to the catalog in which it is shown."""
        service, who = self._service, self._who

        def work(source: Target) -> None:
            at(service, who, catalog, lambda target: _rename(source, target, who.author))

        try:
            at(service, who, number, work)
        except (OSError, RootUnavailableError) as error:
            raise LibraryError(DELETE_FAILED) from error
        service.store.change(lambda change: _settle(change, number, catalog), who.author)


def _shown_elsewhere(reading: Reading, number: int) -> list[tuple[int, int]]:
    """Return what lies in a directory and is shown outside of it, and in which catalogs.

    What is nearer to the directory comes first; what is in something returned is not.
    """
    found: dict[int, int] = {}
    inside = {number, *reading.tree.descendants(number)}
    for node in reversed(reading.tree.descendants(number)):
        note = reading.library.note(node)
        catalog = note[1].parent if note else 0
        row = reading.media.row(catalog) if catalog and catalog not in inside else None
        above = {up for up, _ in reading.tree.chain(node)} - {node}
        if row is not None and row.is_catalog and not above & found.keys():
            found[node] = catalog
    return list(found.items())


def _guests(reading: Reading, number: int) -> list[int]:
    """Return what lies elsewhere and is shown in a directory, or in one below it."""
    inside = {number, *reading.tree.descendants(number)}
    return [node for node in reading.media.shown_in(inside) if node not in inside]


def _rename(source: Target, catalog: Target, author: str) -> None:
    """Move something to a directory, under a name that is free there."""
    beneath = source.place.beneath

    def act() -> Sequence[Touched]:
        with beneath.pinned(), moved_is_stale():
            source.check()
            catalog.check()
            with beneath.entry(source.path) as old, beneath.directory(catalog.path) as new:
                taken = {os.fsencode(name) for name in os.listdir(new)}  # noqa: PTH208 - of a descriptor
                name = unique(old.name, taken.__contains__)
                os.rename(old.name, name, src_dir_fd=old.directory, dst_dir_fd=new)
                os.fsync(new)
                os.fsync(old.directory)
        path = b"%b/%b" % (catalog.path, name) if catalog.path else name
        return [(source.path, "moved away"), (path, "moved here")]

    paths = (source.path, catalog.path) if catalog.path else (source.path,)
    source.place.root.perform(act, paths, author)


def _settle(change: Change, number: int, catalog: int) -> None:
    """Have something be shown where it is from now on; it is where it was shown."""
    note = change.library.note(number)
    if note is not None and note[1].parent == catalog:
        change.put(msgspec.structs.replace(note[1], parent=0, changed_us=change.now_us), note[0])
