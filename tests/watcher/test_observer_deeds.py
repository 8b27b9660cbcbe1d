"""Changes through a real observer: the real kernel echoes, and many ask at once."""

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventlog.connection import open_reader
from eventlog.events import DISK, Created, Modified, Removed
from eventlog.schema import batches
from tests.watcher.nas import Nas, running
from watcher.deeds import RefusedError, Touched
from watcher.observer import Observer
from watcher.root import RootAbsentError

CLIENTS = 6
CHANGES = 40


def write(observer: Observer, name: str, data: bytes, author: str) -> int:
    """Write a file aside and have it renamed into place, as faces do."""
    directory = Path(os.fsdecode(observer.root.path))
    (directory / ".nasfeed").mkdir(exist_ok=True)
    new = directory / ".nasfeed" / f"{author}-{len(data)}"
    new.write_bytes(data)

    def act() -> list[Touched]:
        new.rename(directory / name)
        return [(name.encode(), "written")]

    return observer.changes.perform(act, (name.encode(),), author).result(30)


def told(nas: Nas) -> list[tuple[str, bytes, int]]:
    """Return author, name and size of each event that made or changed a file."""
    with contextlib.closing(open_reader(nas.config.database)) as connection:
        events = [record.event for batch in batches(connection, 0) for record in batch]
    return [
        (e.author, e.state.name, e.state.size)
        for e in events
        if isinstance(e, Created | Modified) and e.state.is_file
    ]


def test_each_change_of_many_clients_is_told_once_with_its_author(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        [observer] = nas.system.observers

        def work(client: int) -> None:
            for number in range(CHANGES):
                name = f"{(client + number) % 5}"
                position = write(observer, name, bytes(number + 1), f"face:{client}")
                assert position <= nas.head

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(work, range(CLIENTS)))
        assert len(told(nas)) == CLIENTS * CHANGES
        assert {author for author, _, _ in told(nas)} == {f"face:{c}" for c in range(CLIENTS)}
        nas.see()
        observer.rescan()
        nas.wait(lambda: observer.status.scans > 1, "a second scan")
        assert len(told(nas)) == CLIENTS * CHANGES


def test_removals_have_their_author(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        [observer] = nas.system.observers
        cursor = write(observer, "f", b"data", "face:alice")

        def act() -> list[Touched]:
            (tmp_path / "root" / "f").unlink()
            return [(b"f", "removed")]

        observer.changes.perform(act, (b"f",), "face:bob").result(30)
        [event] = [e for e in nas.feed(cursor).values() if isinstance(e, Removed)]
        assert event.author == "face:bob"


def test_what_others_do_is_still_nobodys(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        write(nas.system.observers[0], "mine", b"data", "face:alice")
        (tmp_path / "root" / "theirs").write_bytes(b"other data")
        nas.see()
        assert (DISK, b"theirs", 10) in told(nas)


def test_a_root_that_is_gone_takes_no_changes_and_comes_back(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        [observer] = nas.system.observers
        os.close(observer.open_root())
        (tmp_path / "root").rename(tmp_path / "away")
        nas.wait(lambda: observer.status.state == "offline", "it is noticed")
        with pytest.raises(RefusedError, match="cannot be opened"):
            observer.changes.perform(list, (), "face").result(30)
        with pytest.raises(RootAbsentError):
            observer.open_root()
        (tmp_path / "away").rename(tmp_path / "root")
        nas.wait(lambda: observer.status.state == "online", "it is back")
        write(observer, "f", b"data", "face")


def test_another_directory_at_the_roots_path_is_never_opened(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        [observer] = nas.system.observers
        (tmp_path / "root").rename(tmp_path / "away")
        (tmp_path / "root").mkdir()
        with pytest.raises(RootAbsentError, match=r"another directory|cannot be opened"):
            observer.open_root()
        with pytest.raises((RefusedError, RootAbsentError)):
            observer.changes.perform(list, (), "face").result(30)


def test_after_the_end_nothing_is_changed(tmp_path: Path) -> None:
    with running(tmp_path, "root") as nas:
        [observer] = nas.system.observers
    with pytest.raises(RefusedError, match="the server stops"):
        observer.changes.perform(list, (), "face").result(30)
