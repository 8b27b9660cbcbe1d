"""Filesystems that are mounted below a root: all works in them, and nothing leaves them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.library import Right
from tests.api.library.family import Family, Person, family
from tests.api.library.test_uploads import announce, send
from tests.watcher.mounting import mounted, privileged


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Family]:
    with family(tmp_path) as home:
        home.add("Terry", Right("photos", write=True))
        yield home


def put(home: Family, path: Path, data: bytes) -> int:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    home.nas.see(path.parent)
    return home.number(path)


def mount(point: Path, kind: str) -> list[str | Path]:
    if kind == "another filesystem":
        return ["-t", "tmpfs", "tmpfs"]
    other = point.parents[1] / "other"
    other.mkdir()
    return ["--bind", other]


@privileged
@pytest.mark.parametrize("kind", ["another filesystem", "the same once more"])
def test_files_are_uploaded_deleted_and_restored_below_a_mount_point(
    home: Family, terry: Person, kind: str
) -> None:
    point = home.nas.roots["photos"] / "disk"
    point.mkdir()
    with mounted(*mount(point, kind), point=point):
        home.nas.see(point.parent)
        (point / "d").mkdir()
        home.nas.see(point)
        number = home.number(point / "d")
        told = announce(home, terry, 4, cid=number, name="film", lastModifyTime=1492571300)
        file = send(terry, told["id"], {"origin": b"data"}).data["fileInfo"]
        assert (point / "d" / "film.mp4").read_bytes() == b"data"
        assert (point / "d" / "film.mp4").stat().st_mtime == 1492571300
        uploads = point.parent / ".nasfeed" / "uploads"
        assert list(uploads.iterdir()) == []
        made = terry.post("createCatalog", parentId=number, name="new").data
        assert (point / "d" / "new").is_dir()

        assert terry.post("deleteFiles", ids=str(file["id"])).code == 0
        assert terry.post("deleteCatalog", ids=str(made["id"])).code == 0
        assert list((point / "d").iterdir()) == []
        found = {each["path"]: str(each["id"]) for each in terry.get("trash").data}
        assert terry.post("restoreTrash", ids=found["disk/d/film.mp4"]).code == 0
        assert (point / "d" / "film.mp4").read_bytes() == b"data"
        trash = home.face.service
        assert len(list((point / ".nasfeed" / "trash").iterdir())) == 1
        assert trash.settings.trash_days == 30
    assert [path.name for path in point.iterdir()] == []


@privileged
@pytest.mark.parametrize("with_its_directory", [False, True])
def test_what_was_deleted_on_a_disk_waits_for_it(
    home: Family, terry: Person, *, with_its_directory: bool
) -> None:
    photos, disk = home.nas.roots["photos"], home.nas.roots["photos"].parent / "disk"
    point = photos / "disk"
    point.mkdir()
    disk.mkdir()
    with mounted("-t", "tmpfs", "tmpfs", point=disk):
        with mounted("--bind", disk, point=point):
            home.nas.see(photos)
            (point / "d").mkdir()
            file = put(home, point / "d" / "a.txt", b"data")
            assert terry.post("deleteFiles", ids=str(file)).code == 0
            [found] = [str(each["id"]) for each in terry.get("trash").data]
            if with_its_directory:
                (point / "d").rmdir()
                home.nas.see(point)
        assert terry.post("restoreTrash", ids=found).code == -10004
        home.look_after()
        assert [str(each["id"]) for each in terry.get("trash").data] == [found]
        with mounted("--bind", disk, point=point):
            assert terry.post("restoreTrash", ids=found).code == 0
            assert (point / "d" / "a.txt").read_bytes() == b"data"


@privileged
@pytest.mark.parametrize("kind", ["another filesystem", "the same once more"])
def test_a_mount_point_is_not_thrown_away_nor_what_it_is_in(
    home: Family, terry: Person, kind: str
) -> None:
    point = home.nas.roots["photos"] / "above" / "disk"
    point.mkdir(parents=True)
    arguments = mount(point.parent, kind)
    with mounted(*arguments, point=point):
        home.nas.see(point.parents[1])
        home.nas.see(point.parent)
        put(home, point / "a.txt", b"data")
        for path in (point, point.parent):
            assert terry.post("deleteCatalog", ids=str(home.number(path))).code == -103
            assert (point / "a.txt").read_bytes() == b"data"
        assert terry.get("trash").data == []
