"""What a crash may have left in the middle of an upload or a deletion comes to a good end."""

import itertools
import os
from pathlib import Path

import msgspec
import pytest

from api.library import bins
from api.library.recovery import Recovery
from eventlog.library import Trashed, Upload
from projections.library_store import Change
from tests.api.library.family import Family, Person
from tests.api.library.test_uploads import announce, send

_names = itertools.count()


class Begun:
    """An upload of four bytes, brought into the state in which a crash left it."""

    def __init__(self, home: Family, person: Person, **announced: object) -> None:
        self.name = f"begun {next(_names)}"
        self.number = int(announce(home, person, 4, name=self.name, **announced)["id"])
        self._home = home
        self._photos = home.nas.roots["photos"]
        with home.store.reading() as view:
            found = view.library.upload(self.number)
        assert found is not None
        self.upload: Upload = found

    @property
    def origin(self) -> Path:
        return self._photos / ".nasfeed" / "uploads" / f"{self.upload.key}.origin"

    def crash(self, inode: int = 0) -> None:
        """Have the log say that all bytes are there, and nothing more."""
        state = msgspec.structs.replace(self.upload, sizes=(4, 0, 0), file=inode)
        self._home.store.change(lambda change: change.put(state, self.number), "test")

    def recover(self) -> None:
        Recovery(self._home.face.service).step()

    def files(self) -> list[str]:
        return sorted(path.name for path in self._photos.glob(f"{self.name}*"))


@pytest.fixture
def begun(home: Family, terry: Person) -> Begun:
    send(terry, announce(home, terry, 1, name=f"first {next(_names)}")["id"], {"origin": b"x"})
    return Begun(home, terry)  # and the directory for uploads is there


def is_offered(person: Person, number: int) -> bool:
    return number in [each["id"] for each in person.get("uploadingInfo").data]


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_file_that_got_its_place_before_the_crash_is_the_upload(
    terry: Person, photos: Path, begun: Begun, *, is_asked: bool
) -> None:
    file = photos / f"{begun.name}.mp4"
    file.write_bytes(b"data")
    begun.crash(file.stat().st_ino)
    if is_asked:
        reply = send(terry, begun.number, {"origin": b""}, obp=4).data["fileInfo"]
        assert (reply["name"], reply["size"]) == (begun.name, 4)
    else:
        begun.recover()
    assert begun.files() == [file.name]
    assert not is_offered(terry, begun.number)
    assert terry.ask("GET", f"/downFile.icc?id={begun.number}").body == b"data"


def test_a_file_that_was_moved_after_the_crash_is_the_upload_all_the_same(
    home: Family, terry: Person, photos: Path, begun: Begun
) -> None:
    (photos / "elsewhere").mkdir(exist_ok=True)
    file = photos / "elsewhere" / f"{begun.name}.mp4"
    file.write_bytes(b"data")
    home.number(file)
    begun.crash(file.stat().st_ino)
    begun.recover()
    assert not is_offered(terry, begun.number)
    assert terry.ask("GET", f"/downFile.icc?id={begun.number}").body == b"data"


def test_an_upload_whose_bytes_are_all_there_becomes_a_file_by_itself(
    terry: Person, begun: Begun
) -> None:
    begun.origin.write_bytes(b"data")
    begun.crash()
    begun.recover()
    assert begun.files() == [f"{begun.name}.mp4"]
    assert not is_offered(terry, begun.number)


def test_a_whole_upload_becomes_a_file_when_its_catalog_is_back(
    home: Family, terry: Person, photos: Path
) -> None:
    catalog = terry.post("createCatalog", parentId=home.root("photos"), name="Away").data["id"]
    begun = Begun(home, terry, cid=catalog)
    begun.origin.write_bytes(b"data")
    begun.crash()
    assert terry.post("deleteCatalog", ids=str(catalog)).code == 0
    recovery = Recovery(home.face.service)
    recovery.step()
    assert is_offered(terry, begun.number)
    [thrown] = [each for each in terry.get("trash").data if each["fileId"] == catalog]
    assert terry.post("restoreTrash", ids=str(thrown["id"])).code == 0
    recovery.step()
    assert (photos / "Away" / f"{begun.name}.mp4").read_bytes() == b"data"
    assert not is_offered(terry, begun.number)


def test_an_upload_whose_bytes_are_lost_is_sent_again(terry: Person, begun: Begun) -> None:
    begun.crash(inode=2**60)
    begun.recover()
    [info] = [each for each in terry.get("uploadingInfo").data if each["id"] == begun.number]
    assert info["uploadingOriginSize"] == 0
    assert send(terry, begun.number, {"origin": b"data"}).code == 0
    assert begun.files() == [f"{begun.name}.mp4"]


def test_an_upload_is_never_said_to_be_longer_than_it_is(terry: Person, begun: Begun) -> None:
    assert send(terry, begun.number, {"origin": b"dat"}).code == 0
    begun.origin.write_bytes(b"d")  # a part was being sent again from its second byte
    [info] = [each for each in terry.get("uploadingInfo").data if each["id"] == begun.number]
    assert info["uploadingOriginSize"] == 1
    assert send(terry, begun.number, {"origin": b"ata"}, obp=1).code == 0
    assert begun.files() == [f"{begun.name}.mp4"]


def test_what_was_not_moved_to_the_trash_is_not_listed_there(
    home: Family, terry: Person, photos: Path
) -> None:
    file = photos / "still here.txt"
    file.write_bytes(b"data")
    number = home.number(file)

    def job(change: Change) -> int:
        return change.put(Trashed("photos", b"still here.txt", "0" * 32, number, 1, 1, 4, False))  # noqa: FBT003 - a field

    entity = home.store.change(job, "test")
    assert entity in [each["id"] for each in terry.get("trash").data]
    Recovery(home.face.service).step()
    assert entity not in [each["id"] for each in terry.get("trash").data]
    assert file.exists()


@pytest.mark.parametrize("instead", [None, "a file", "a link"])
def test_what_was_not_moved_is_not_listed_although_its_directory_is_gone_by_now(
    home: Family, terry: Person, photos: Path, instead: str | None
) -> None:
    top = photos / f"doomed for {instead}"
    file = top / "below" / "file.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"data")
    number = home.number(file)
    path = os.fsencode(file.relative_to(photos))
    trashed = Trashed("photos", path, "1" * 32, number, 1, 1, 4, False)  # noqa: FBT003 - a field
    entity = home.store.change(lambda change: change.put(trashed), "test")
    recovery = Recovery(home.face.service)
    file.unlink()
    file.parent.rmdir()
    if instead == "a file":
        file.parent.touch()
    elif instead == "a link":
        file.parent.symlink_to(top)
    recovery.step()  # perhaps the log does not know it yet
    home.nas.see(photos)
    for _ in range(3):
        recovery.step()
    assert entity not in [each["id"] for each in terry.get("trash").data]


def test_what_was_put_back_before_the_crash_is_not_in_the_trash(
    home: Family, terry: Person, photos: Path
) -> None:
    file = photos / "back.txt"
    file.write_bytes(b"data")
    number = home.number(file)
    assert terry.post("updateFile", id=number, memo="dear").code == 0
    assert terry.post("deleteFiles", ids=str(number)).code == 0
    with home.store.reading() as view:
        entity, trashed = next(each for each in view.library.trash() if each[1].node == number)
    (photos / ".nasfeed" / "trash" / trashed.key).rename(file)
    Recovery(home.face.service).step()
    assert entity not in [each["id"] for each in terry.get("trash").data]
    [found] = [f for f in terry.get("files", pageIndex=0).data["list"] if f["name"] == "back.txt"]
    assert found["memo"] == "dear"


def test_what_cannot_be_put_back_stays_in_the_trash(
    home: Family, terry: Person, photos: Path
) -> None:
    above = photos / "above"
    above.mkdir()
    (above / "below.txt").write_bytes(b"data")
    assert terry.post("deleteFiles", ids=str(home.number(above / "below.txt"))).code == 0
    above.rmdir()
    above.write_bytes(b"in the way")
    [found] = [each["id"] for each in terry.get("trash").data if each["path"] == "above/below.txt"]
    assert terry.post("restoreTrash", ids=str(found)).code == -103
    assert found in [each["id"] for each in terry.get("trash").data]
    above.unlink()
    assert terry.post("restoreTrash", ids=str(found)).code == 0
    assert (above / "below.txt").read_bytes() == b"data"


def test_only_what_the_log_takes_for_a_file_is_deleted_for_it(
    home: Family, terry: Person, photos: Path
) -> None:
    for turn in range(10):
        one, two, away = (photos / f"{name} {turn}.txt" for name in ("one", "two", "away"))
        one.write_bytes(b"one")
        two.write_bytes(b"two")
        number = home.number(one)
        home.number(two)
        one.rename(away)
        two.rename(one)
        if terry.post("deleteFiles", ids=str(number)).code == 0:
            [at] = [each["path"] for each in terry.get("trash").data if each["fileId"] == number]
            assert not (photos / at).exists()
        left = [path for path in (one, two, away) if path.exists()]
        assert len(left) == 2 - (number in [t["fileId"] for t in terry.get("trash").data])


def test_an_editors_save_does_not_keep_a_file_from_being_deleted(
    home: Family, terry: Person, photos: Path
) -> None:
    for turn in range(5):
        file, new = photos / f"saved {turn}.txt", photos / f"new {turn}.tmp"
        file.write_bytes(b"old")
        number = home.number(file)
        new.write_bytes(b"new")
        new.rename(file)
        assert terry.post("deleteFiles", ids=str(number)).code == 0
        assert not file.exists()


def test_a_tree_of_any_depth_is_removed_for_good(home: Family, photos: Path) -> None:
    top = photos / ".nasfeed" / "deep"
    top.mkdir(parents=True)
    fd = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
        fd = below
    os.close(fd)
    bins.remove(home.face.service.places["photos"].beneath, b".nasfeed/deep")
    assert not top.exists()
