"""Changes of faces: recorded with their author before the answer, and found by nobody again."""

import os
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from eventlog.errors import LogError
from eventlog.events import DISK, Created, Modified, Moved, Reason, Removed
from tests.watcher.rig import Rig, followed
from watcher.backend import Sign
from watcher.deeds import Act, Deed, Deeds, RefusedError, Touched
from watcher.performer import Performer
from watcher.writings import Writings

WHO = "face:alice"


class Faced:
    """A followed root with a performer, as the observer has it."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.performer = Performer(
            rig.tools,
            rig.number,
            rig.follower.record,
            rig.follower.suspect,
            lambda: rig._log.head,
            Writings(rig.settling, rig.clock),
        )

    def perform(self, *deeds: Deed) -> list[int]:
        self.rig.follower.flush()
        self.performer.perform(deeds)
        return [deed.done.result(0) for deed in deeds]

    def path(self, name: str) -> Path:
        return self.rig.path / name

    def write(self, name: str, data: bytes = b"data", author: str = WHO) -> Deed:
        def act() -> list[Touched]:
            made = self.make_directories(name)
            self.path(name).write_bytes(data)
            return [*made, (name.encode(), "written")]

        return deed(act, name, author=author)

    def make_directories(self, name: str) -> list[Touched]:
        above = [str(path) for path in reversed(Path(name).parents)][1:]
        missing = [path for path in above if not self.path(path).exists()]
        for path in missing:
            self.path(path).mkdir()
        return [(path.encode(), "changed") for path in missing]

    def echo(self, name: str, sign: Sign) -> int:
        """Tell the kernel's own hint; return how many events that made."""
        before = self.rig._log.head
        self.rig.hint(name, sign)
        self.rig.work()
        return self.rig._log.head - before


def deed(act: Act, *about: str, author: str = WHO) -> Deed:
    made = Deed(act, tuple(path.encode() for path in about), author, Future())
    made.done.set_running_or_notify_cancel()
    return made


@pytest.fixture
def faced(tmp_path: Path) -> Iterator[Faced]:
    with followed(tmp_path) as rig:
        rig.scan()
        yield Faced(rig)


def test_a_written_file_is_in_the_log_with_its_author_before_the_answer(faced: Faced) -> None:
    head = faced.rig._log.head
    [position] = faced.perform(faced.write("f"))
    [event] = faced.rig.events(head)
    assert isinstance(event, Created)
    assert (event.author, event.state.name, event.state.size) == (WHO, b"f", 4)
    assert position == head + 1 == faced.rig._log.head


def test_the_kernels_echo_finds_nothing_new(faced: Faced) -> None:
    faced.perform(faced.write("f"))
    assert faced.echo("f", Sign.CREATED | Sign.MOVED_TO) == 0


def test_an_echo_that_comes_after_the_content_was_read_asks_nothing_of_the_log(
    faced: Faced, monkeypatch: pytest.MonkeyPatch
) -> None:
    faced.perform(faced.write("a/f"))
    faced.rig.work()
    faced.rig.describe("a/f")
    monkeypatch.setattr(faced.rig.tools.recorder, "record", None)
    assert faced.echo("a/f", Sign.CREATED | Sign.MOVED_TO) == 0
    assert faced.echo("a", Sign.ATTRIBUTES) == 0


def test_a_write_after_the_content_was_read_has_it_read_again(faced: Faced) -> None:
    faced.perform(faced.write("f"))
    faced.rig.describe("f")
    assert faced.echo("f", Sign.WRITTEN) == 1


def test_directories_on_the_way_get_the_same_author_and_are_watched(faced: Faced) -> None:
    head = faced.rig._log.head
    faced.perform(faced.write("a/b/f"))
    events = faced.rig.events(head)
    assert [event.author for event in events] == [WHO] * 3
    faced.rig.work()
    numbers = {faced.rig.node(name).number for name in ("a", "a/b")}
    assert faced.rig.backend.watched() >= numbers
    assert faced.rig._log.head == head + 3


def test_directories_that_were_there_already_are_nobodys(faced: Faced) -> None:
    faced.path("a").mkdir()
    faced.perform(faced.write("a/f"))
    directory, file = faced.rig.events()[-2:]
    assert (directory.author, file.author) == (DISK, WHO)


def test_a_file_written_anew_keeps_its_number(faced: Faced) -> None:
    faced.perform(faced.write("f"))
    number = faced.rig.node("f").number

    def act() -> list[Touched]:
        faced.path(".nasfeed").mkdir()
        new = faced.path(".nasfeed/new")
        new.write_bytes(b"other")
        new.rename(faced.path("f"))
        return [(b"f", "written")]

    faced.perform(deed(act, "f", author="face:bob"))
    event = faced.rig.events()[-1]
    assert isinstance(event, Modified)
    assert (event.author, event.state.size) == ("face:bob", 5)
    assert faced.rig.node("f").number == number
    assert ".nasfeed" not in faced.rig.names()


def test_a_removal_is_recorded_at_once_with_the_directories_that_went_too(faced: Faced) -> None:
    faced.perform(faced.write("a/b/f"))
    head = faced.rig._log.head

    def act() -> list[Touched]:
        faced.path("a/b/f").unlink()
        faced.path("a/b").rmdir()
        faced.path("a").rmdir()
        return [(b"a", "removed"), (b"a/b", "removed"), (b"a/b/f", "removed")]

    faced.perform(deed(act, "a/b/f"))
    events = faced.rig.events(head)
    assert {type(event) for event in events} == {Removed}
    assert {(e.author, e.reason) for e in events if isinstance(e, Removed)} == {
        (WHO, Reason.DELETED)
    }
    assert (len(events), faced.rig.names()) == (3, set())
    assert faced.echo("a", Sign.DELETED) == 0


def test_a_rename_is_a_move_that_keeps_what_is_known_of_the_bytes(faced: Faced) -> None:
    faced.perform(faced.write("old"))
    before = faced.rig.node("old")

    def act() -> list[Touched]:
        faced.path("old").rename(faced.path("new"))
        return [(b"old", "moved away"), (b"new", "moved here")]

    faced.perform(deed(act, "old", "new"))
    event = faced.rig.events()[-1]
    assert isinstance(event, Moved)
    assert (event.author, event.from_name) == (WHO, b"old")
    assert faced.rig.node("new").number == before.number
    assert faced.rig.names() == {"new"}


def test_changes_of_one_path_are_recorded_one_by_one_each_with_its_author(faced: Faced) -> None:
    head = faced.rig._log.head
    faced.perform(
        faced.write("f", b"1"),
        faced.write("f", b"22"),
        faced.write("g", b"1", author="face:bob"),
        faced.write("f", b"333", author="face:bob"),
    )
    events = [e for e in faced.rig.events(head) if isinstance(e, Created | Modified)]
    found = [(e.author, e.state.name, e.state.size) for e in events]
    assert found[:2] == [(WHO, b"f", 1), (WHO, b"f", 2)]
    assert set(found[2:]) == {("face:bob", b"g", 1), ("face:bob", b"f", 3)}


def test_a_change_that_fails_harms_no_other(faced: Faced) -> None:
    def fail() -> list[Touched]:
        faced.path("half").touch()
        raise FileExistsError("in the way")

    failing = deed(fail, "half")
    deeds = [faced.write("f"), failing, faced.write("g")]
    faced.performer.perform(deeds)
    assert [d.done.exception(0) is None for d in deeds] == [True, False, True]
    assert faced.rig.names() == {"f", "g", "half"}


def test_when_nothing_can_be_recorded_whoever_waits_is_told(faced: Faced) -> None:
    faced.rig._log.close()
    deeds = [faced.write("f"), faced.write("f", author="face:bob")]
    with pytest.raises(LogError):
        faced.performer.perform(deeds)
    for each in deeds:
        assert isinstance(each.done.exception(0), LogError)


def test_a_directory_that_was_exchanged_unheard_is_recorded_on_the_way(faced: Faced) -> None:
    faced.perform(faced.write("a/f"))
    faced.path("a").rename(faced.path("b"))
    faced.perform(faced.write("a/g"))
    assert faced.rig.node("a/g").state.size == 4
    faced.rig.scan()
    faced.rig.wait(1.0)
    assert faced.rig.names() == {"a", "a/g", "b", "b/f"}


def test_a_closed_root_refuses_with_its_reason() -> None:
    deeds = Deeds()
    deeds.open()
    waiting = deeds.add(list, (), WHO)
    deeds.close("it is gone")
    for future in (waiting, deeds.add(list, (), WHO)):
        with pytest.raises(RefusedError, match="it is gone"):
            future.result(0)


def test_a_change_that_nobody_waits_for_any_more_is_not_made() -> None:
    deeds = Deeds()
    deeds.open()
    assert deeds.add(list, (), WHO).cancel()
    assert deeds.take() == []


def test_names_may_be_any_bytes(faced: Faced) -> None:
    name = b"\xff\n"

    def act() -> list[Touched]:
        fd = os.open(bytes(faced.rig.path) + b"/" + name, os.O_CREAT | os.O_WRONLY, 0o600)
        os.close(fd)
        return [(name, "written")]

    faced.perform(deed(act, "x"))
    event = faced.rig.events()[-1]
    assert isinstance(event, Created)
    assert event.state.name == name
