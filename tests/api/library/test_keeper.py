"""What the library does by itself: what is over ends, what is too old or too much goes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from api.library.trash import Trash
from api.library.wire import LibraryError
from eventlog.library import Ended, Right
from tests.api.library.family import Family, Person, family
from tests.api.library.test_accounts import MovingClock
from tests.api.library.test_uploads import announce, send, uploading

DAY_US = 86_400_000_000


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def home(tmp_path: Path, clock: MovingClock) -> Iterator[Family]:
    limits: dict[str, Any] = {
        "trash_days": 1,
        "trash_bytes": 250,
        "upload_timeout": 3600,
        "online_timeout": 10**6,
    }
    with family(tmp_path, clock, **limits) as home:
        home.add("Terry", Right("photos", write=True))
        yield home


def throw_away(home: Family, person: Person, name: str, size: int = 100) -> None:
    path = home.nas.roots["photos"] / name
    path.write_bytes(b"x" * size)
    assert person.post("deleteFiles", ids=str(home.number(path))).code == 0


def in_trash(home: Family, person: Person) -> list[str]:
    home.look_after()
    own = home.nas.roots["photos"] / ".nasfeed" / "trash"
    listed = [each["path"] for each in person.get("trash").data]
    assert len(list(own.iterdir())) == len(listed)
    return listed


def test_what_was_in_the_trash_too_long_goes(
    home: Family, terry: Person, clock: MovingClock
) -> None:
    throw_away(home, terry, "old.txt")
    clock.ahead_us += DAY_US // 2
    throw_away(home, terry, "new.txt")
    assert in_trash(home, terry) == ["new.txt", "old.txt"]
    clock.ahead_us += DAY_US // 2 + 1_000_000
    assert in_trash(home, terry) == ["new.txt"]


def test_of_what_is_too_much_the_oldest_goes(home: Family, terry: Person) -> None:
    for name in ("first.txt", "second.txt", "third.txt"):
        throw_away(home, terry, name)
    assert in_trash(home, terry) == ["third.txt", "second.txt"]
    throw_away(home, terry, "huge.txt", 1_000)
    assert in_trash(home, terry) == ["third.txt", "second.txt"]  # what cannot be kept costs nothing


def test_a_directory_in_the_trash_goes_whole_and_follows_no_link(
    home: Family, terry: Person, clock: MovingClock, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"data")
    folder = home.nas.roots["photos"] / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a").write_bytes(b"a")
    (folder / "link").symlink_to(outside)
    assert terry.post("deleteCatalog", ids=str(home.number(folder))).code == 0
    clock.ahead_us += DAY_US + 1_000_000
    assert in_trash(home, terry) == []
    assert (outside / "precious").read_bytes() == b"data"


def test_an_upload_that_does_not_go_on_is_given_up(
    home: Family, terry: Person, clock: MovingClock
) -> None:
    number = announce(home, terry, 4)["id"]
    send(terry, number, {"origin": b"ab"})
    clock.ahead_us += 3_000_000_000
    home.look_after()
    assert uploading(terry, number)["uploadingOriginSize"] == 2
    send(terry, number, {"origin": b"c"}, obp=2)
    clock.ahead_us += 3_000_000_000
    home.look_after()
    assert uploading(terry, number)["uploadingOriginSize"] == 3  # it went on
    clock.ahead_us += 700_000_000
    home.look_after()
    assert terry.get("uploadingInfo").data == []
    assert list((home.nas.roots["photos"] / ".nasfeed" / "uploads").iterdir()) == []


def test_what_two_requests_take_from_the_trash_ends_once(home: Family, terry: Person) -> None:
    throw_away(home, terry, "wanted.txt")
    with home.store.reading() as view:
        [(number, trashed)] = view.library.trash()
    trash = Trash(home.face.service)
    for _ in range(2):  # the second was on its way when the first was done
        trash.remove(number, trashed)
    with pytest.raises(LibraryError):
        trash.restore(number, trashed, "test")
    assert [type(event) for event in home.nas.events(number)].count(Ended) == 1


def test_of_a_catalog_that_two_requests_restore_nothing_is_forgotten(
    home: Family, terry: Person
) -> None:
    file = home.nas.roots["photos"] / "twice" / "a.txt"
    file.parent.mkdir()
    file.write_bytes(b"a")
    assert terry.post("updateFile", id=home.number(file), memo="dear").code == 0
    assert terry.post("deleteCatalog", ids=str(home.number(file.parent))).code == 0
    [found] = terry.get("trash").data
    with ThreadPoolExecutor(4) as several:
        asked = [several.submit(terry.post, "restoreTrash", ids=str(found["id"])) for _ in range(4)]
    assert sorted(each.result().code for each in asked) == [-10004, -10004, -10004, 0]
    home.number(file)
    home.look_after()
    again = terry.get("files", pageIndex=0, pids=home.number(file.parent)).data["list"]
    assert [each["memo"] for each in again] == ["dear"]


def test_what_lies_in_the_trash_survives_a_crash_between_log_and_disk(
    home: Family, terry: Person
) -> None:
    """The entity comes first: of one that was never moved, a restore says so and ends it."""
    throw_away(home, terry, "a.txt")
    [found] = terry.get("trash").data
    own = home.nas.roots["photos"] / ".nasfeed" / "trash"
    for path in own.iterdir():
        path.rename(home.nas.roots["photos"] / "a.txt")
    assert terry.post("restoreTrash", ids=str(found["id"])).code == -10004
    assert terry.get("trash").data == []
    assert (home.nas.roots["photos"] / "a.txt").exists()
