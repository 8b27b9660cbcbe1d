"""Many small writes of a face become few events, under the name of who wrote."""

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from eventlog.events import DISK, Created, Modified, Moved
from tests.watcher.rig import Rig, followed
from watcher.backend import Place, Sign
from watcher.changes import Changes
from watcher.deeds import Act, Deed, Touched
from watcher.performer import Performer
from watcher.settle import LOOK_MAX_SECONDS, LOOK_QUIET_SECONDS
from watcher.writings import Writings

WHO = "face:alice"
OTHER = "face:bob"
PATH = b"f"


class Writer:
    """A followed root whose observer's part the test plays."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.writings = Writings(rig.settling, rig.clock)
        self.performer = Performer(
            rig.tools,
            rig.number,
            rig.follower.record,
            rig.follower.suspect,
            lambda: rig._log.head,
            self.writings,
        )

    def perform(self, act: Act, author: str = WHO, *about: bytes) -> None:
        done: Future[int] = Future()
        paths = about or (PATH,)
        self.performer.record_writes(self.writings.settle((path, author) for path in paths))
        self.performer.perform([Deed(act, paths, author, done)])
        done.result(0)

    def write(self, data: bytes, author: str = WHO) -> None:
        """Write as the observer has it done, and let the kernel tell of it."""
        if self.writings.enter(PATH, author):
            self._append(data)
            self.writings.leave(PATH)
        else:
            self.perform(lambda: [self._append(data)], author)
        self.rig.hint("f", Sign.WRITING | Sign.WRITTEN)
        self.rig.work()

    def _append(self, data: bytes) -> Touched:
        with (self.rig.path / "f").open("ab") as file:
            file.write(data)
        return (PATH, "writing")

    def wait(self, seconds: float) -> None:
        """Let time pass, as the observer's rounds do."""
        until = self.rig.clock.seconds + seconds
        while self.rig.clock.seconds < until:
            self.rig.clock.seconds += 0.05
            writes, places = self.writings.due()
            for place in places:
                self.rig.follower.suspect(place)
            self.performer.record_writes(writes)
            self.rig.work()

    def told(self) -> list[tuple[str, int]]:
        """Return author and size of each event about the file."""
        found = [e for e in self.rig.events() if isinstance(e, Created | Modified | Moved)]
        return [(e.author, e.state.size) for e in found if e.state.is_file]

    def is_held(self) -> bool:
        place = Place(self.rig.number, PATH)
        return self.rig.settling.is_being_written(place, self.rig.clock.seconds)


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    with followed(tmp_path) as rig:
        rig.scan()
        yield Writer(rig)


def test_the_first_write_is_recorded_at_once_and_the_others_together(writer: Writer) -> None:
    for _ in range(100):
        writer.write(b"x" * 10)
    assert writer.told() == [(WHO, 10)]
    assert writer.is_held()  # and not read for its hash
    writer.wait(LOOK_QUIET_SECONDS + 0.1)
    assert writer.told() == [(WHO, 10), (WHO, 1000)]
    writer.wait(2.0)
    assert writer.told() == [(WHO, 10), (WHO, 1000)]
    assert not writer.is_held()


def test_a_writer_that_does_not_pause_is_recorded_all_the_same(writer: Writer) -> None:
    while len(writer.told()) < 4:
        writer.write(b"x")
        writer.wait(0.2)
    seconds = len((writer.rig.path / "f").read_bytes()) * 0.2
    assert seconds >= 2 * LOOK_MAX_SECONDS
    assert {author for author, _ in writer.told()} == {WHO}
    assert writer.is_held()


def test_another_writer_is_told_apart(writer: Writer) -> None:
    for _ in range(3):
        writer.write(b"x")
    writer.write(b"yyy", OTHER)
    assert writer.told() == [(WHO, 1), (WHO, 3), (OTHER, 6)]


def test_another_change_of_the_file_is_recorded_with_what_was_written(writer: Writer) -> None:
    for _ in range(3):
        writer.write(b"x")

    def chmod() -> list[Touched]:
        (writer.rig.path / "f").chmod(0o600)
        return [(PATH, "changed")]

    writer.perform(chmod)
    assert writer.told() == [(WHO, 1), (WHO, 3)]
    writer.wait(2.0)
    assert len(writer.told()) == 2


def test_a_file_that_is_renamed_while_it_is_written_is_written_under_its_new_name(
    writer: Writer,
) -> None:
    for _ in range(3):
        writer.write(b"x")

    def rename() -> list[Touched]:
        (writer.rig.path / "f").rename(writer.rig.path / "g")
        return [(PATH, "moved away"), (b"g", "moved here")]

    writer.perform(rename, WHO, PATH, b"g")
    assert writer.told()[-1] == (WHO, 3)
    assert writer.rig.find("f") is None
    assert not writer.is_held()
    writer.wait(2.0)
    assert writer.rig.node("g").state.size == 3


def test_what_is_written_below_a_directory_is_recorded_before_that_moves(writer: Writer) -> None:
    (writer.rig.path / "d").mkdir()
    file = writer.rig.path / "d/f"

    def write() -> list[Touched]:
        file.write_bytes(b"x")
        return [(b"d/f", "writing")]

    writer.perform(write, WHO, b"d/f")
    assert writer.writings.enter(b"d/f", WHO)
    file.write_bytes(b"xxx")
    writer.writings.leave(b"d/f")

    def move() -> list[Touched]:
        (writer.rig.path / "d").rename(writer.rig.path / "e")
        return [(b"d", "moved away"), (b"e", "moved here")]

    writer.perform(move, OTHER, b"d", b"e")
    assert writer.told() == [(WHO, 1), (WHO, 3)]


def test_a_file_that_is_removed_by_others_while_it_is_written_is_removed(writer: Writer) -> None:
    writer.write(b"x")
    (writer.rig.path / "f").unlink()
    writer.rig.hint("f", Sign.DELETED)
    writer.rig.work()
    assert writer.rig.find("f") is None
    writer.wait(2.0)
    assert not writer.is_held()


def test_what_others_write_meanwhile_is_found_in_the_end(writer: Writer) -> None:
    writer.write(b"x")
    with (writer.rig.path / "f").open("ab") as file:
        file.write(b"yy")
    writer.rig.hint("f", Sign.WRITTEN)
    writer.rig.work()
    writer.wait(2.0)
    assert writer.told() == [(WHO, 1), (DISK, 3)]


def test_waiting_ends_when_something_is_to_be_recorded(writer: Writer) -> None:
    assert writer.writings.wait_seconds(9.0) == 9.0
    writer.write(b"x")
    assert writer.writings.wait_seconds(9.0) == LOOK_QUIET_SECONDS
    assert writer.writings.enter(PATH, WHO)
    assert writer.writings.wait_seconds(9.0) == LOOK_MAX_SECONDS
    writer.writings.leave(PATH)
    assert [write.path for write in writer.writings.settle_all()] == [PATH]
    assert writer.writings.wait_seconds(9.0) == 9.0


def test_attributes_that_are_set_while_a_file_is_written_are_recorded_with_it(
    writer: Writer,
) -> None:
    changes = Changes(writer.rig.settling, writer.rig.clock, lambda: None)
    writer.writings = changes.writings
    writer.performer._writings = changes.writings
    writer.write(b"x")
    changes.amend(lambda: (writer.rig.path / "f").chmod(0o600), PATH, WHO)
    assert len(writer.told()) == 1
    writer.wait(2.0)
    [_, event] = [e for e in writer.rig.events() if isinstance(e, Created | Modified)][-2:]
    assert (event.author, event.state.mode) == (WHO, 0o100600)


def test_a_scan_leaves_what_is_being_written_to_who_writes_it(writer: Writer) -> None:
    for _ in range(3):
        writer.write(b"x")
    writer.rig.scan()
    assert writer.told() == [(WHO, 1)]
    writer.wait(2.0)
    assert writer.told() == [(WHO, 1), (WHO, 3)]


def test_so_does_the_scan_of_a_new_directory(writer: Writer) -> None:
    file = writer.rig.path / "d/f"

    def make() -> list[Touched]:
        file.parent.mkdir()
        return [(b"d", "changed")]

    def write() -> list[Touched]:
        file.write_bytes(b"x")
        return [(b"d/f", "writing")]

    writer.perform(make, WHO, b"d")
    writer.perform(write, WHO, b"d/f")
    assert writer.writings.enter(b"d/f", WHO)
    file.write_bytes(b"xxx")
    writer.writings.leave(b"d/f")
    writer.rig.work()  # lists the new directory
    writer.wait(2.0)
    assert writer.told() == [(WHO, 1), (WHO, 3)]


def test_a_hint_that_comes_late_leaves_it_too(writer: Writer) -> None:
    (writer.rig.path / "f").write_bytes(b"old")
    writer.rig.scan()
    (writer.rig.path / "f").unlink()
    writer.perform(lambda: [(PATH, "removed")])
    for _ in range(3):
        writer.write(b"x")
    writer.rig.hint("f", Sign.DELETED | Sign.CREATED | Sign.WRITING)
    writer.rig.work()
    writer.wait(2.0)
    assert writer.told()[1:] == [(WHO, 1), (WHO, 3)]


def test_what_others_put_in_its_place_is_theirs(writer: Writer) -> None:
    for _ in range(3):
        writer.write(b"x")
    (writer.rig.path / "other").write_bytes(b"others' data")
    (writer.rig.path / "other").rename(writer.rig.path / "f")
    writer.rig.hint("f", Sign.MOVED_TO)
    writer.rig.work()
    assert writer.told()[-1] == (DISK, 12)


def test_who_asks_for_all_that_was_written_does_not_end_the_writing(writer: Writer) -> None:
    writer.write(b"x")
    assert writer.writings.enter(PATH, WHO)
    writer._append(b"x")
    writer.performer.record_writes(writer.writings.settle_all())
    assert writer.told() == [(WHO, 1), (WHO, 2)]
    writer._append(b"x")
    writer.rig.hint("f", Sign.WRITING | Sign.WRITTEN)
    writer.rig.work()
    writer.writings.leave(PATH)
    writer.wait(2.0)
    assert writer.told() == [(WHO, 1), (WHO, 2), (WHO, 3)]


def test_nor_does_one_of_several_clients_that_has_finished(writer: Writer) -> None:
    writer.write(b"x")
    assert writer.writings.enter(PATH, WHO)
    writer.perform(lambda: [(PATH, "written")])
    writer._append(b"x")
    writer.rig.hint("f", Sign.WRITING | Sign.WRITTEN)
    writer.rig.work()
    writer.writings.leave(PATH)
    writer.wait(2.0)
    assert writer.told() == [(WHO, 1), (WHO, 2)]
