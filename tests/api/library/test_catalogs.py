"""Catalogs shown elsewhere than they are: never in a circle, and deleted as they are seen."""

import itertools
import threading
from pathlib import Path

import pytest

from tests.api.library.family import Family, Person

_names = itertools.count()


@pytest.fixture
def top(home: Family, terry: Person, photos: Path) -> Path:
    """A catalog of a test's own."""
    name = f"test {next(_names)}"
    terry.post("createCatalog", parentId=home.root("photos"), name=name)
    return photos / name


def made(home: Family, path: Path) -> int:
    """Make a directory; return its number."""
    path.mkdir()
    return home.number(path)


def put(home: Family, path: Path, data: bytes = b"data") -> int:
    path.write_bytes(data)
    return home.number(path)


def shown(home: Family, person: Person, path: Path) -> list[str]:
    """Return the names of the catalogs and files that are shown in one, sorted."""
    number = home.number(path)
    catalogs = person.get("catalogs", pids=number).data
    files = person.get("files", pids=number, pageIndex=0, maxPerPage=100).data["list"]
    return sorted(each["name"] for each in [*catalogs, *files])


def test_two_catalogs_cannot_be_shown_in_each_other(home: Family, terry: Person, top: Path) -> None:
    one, two = made(home, top / "one"), made(home, top / "two")
    codes: list[int] = []

    def move(what: int, where: int) -> None:
        codes.append(terry.post("updateCatalog", id=what, parentId=where).code)

    turns = [threading.Thread(target=move, args=pair) for pair in ((one, two), (two, one))]
    for turn in turns:
        turn.start()
    for turn in turns:
        turn.join()
    assert sorted(codes) == [-10007, 0]
    assert len(shown(home, terry, top)) == 1


def test_catalogs_in_a_circle_that_the_disk_made_are_shown_again(
    home: Family, terry: Person, top: Path
) -> None:
    below, above = made(home, top / "below"), made(home, top / "above")
    other = made(home, top / "other")
    assert terry.post("updateCatalog", id=above, parentId=below).code == 0
    (top / "below").rename(top / "above" / "below")
    home.nas.see(top)
    assert shown(home, terry, top) == ["other"]
    assert terry.post("updateCatalog", id=other, parentId=below).code == -10007
    home.look_after()
    assert shown(home, terry, top) == ["above", "other"]
    assert shown(home, terry, top / "above") == ["below"]


def test_what_is_shown_elsewhere_is_not_deleted_with_where_it_lies(
    home: Family, terry: Person, top: Path
) -> None:
    old, new = made(home, top / "old"), made(home, top / "new")
    made(home, top / "old" / "deep")
    file, catalog = put(home, top / "old" / "deep" / "a.txt"), made(home, top / "old" / "b")
    put(home, top / "old" / "b" / "in it.txt")
    put(home, top / "new" / "a.txt", b"has the name already")
    assert terry.post("updateFile", id=file, catalogId=new, memo="kept").code == 0
    assert terry.post("updateCatalog", id=catalog, parentId=new).code == 0
    assert terry.post("deleteCatalog", ids=str(old)).code == 0
    assert not (top / "old").exists()
    home.nas.see(top)
    assert (top / "new" / "a (2).txt").read_bytes() == b"data"
    assert (top / "new" / "b" / "in it.txt").exists()
    assert home.number(top / "new" / "a (2).txt") == file
    [found] = [
        each
        for each in terry.get("files", pids=new, pageIndex=0, maxPerPage=9).data["list"]
        if each["id"] == file
    ]
    assert found["memo"] == "kept"
    (top / "elsewhere").mkdir()
    (top / "new" / "b").rename(top / "elsewhere" / "b")  # it is shown where it is from now on
    home.nas.see(top)
    assert shown(home, terry, top / "elsewhere") == ["b"]


def test_what_is_shown_in_a_deleted_catalog_is_deleted_as_well(
    home: Family, terry: Person, top: Path
) -> None:
    going, staying = made(home, top / "going"), made(home, top / "staying")
    inner = made(home, top / "going" / "inner")
    file, catalog = put(home, top / "staying" / "a.txt"), made(home, top / "staying" / "b")
    put(home, top / "staying" / "c.txt")
    assert terry.post("updateFile", id=file, catalogId=inner).code == 0
    assert terry.post("updateCatalog", id=catalog, parentId=going).code == 0
    assert terry.post("deleteCatalog", ids=str(going)).code == 0
    assert sorted(path.name for path in top.iterdir()) == ["staying"]
    assert [path.name for path in (top / "staying").iterdir()] == ["c.txt"]
    trash = {each["fileId"]: each["id"] for each in terry.get("trash").data}
    assert {going, file, catalog} <= trash.keys()
    assert terry.post("restoreTrash", ids=str(trash[file])).code == 0
    home.nas.see(top)
    assert shown(home, terry, top / "staying") == ["a.txt", "c.txt"]
    assert staying == home.number(top / "staying")


def test_a_name_as_long_as_can_be_comes_back_beside_another(
    home: Family, terry: Person, top: Path
) -> None:
    name = "ä" * 125 + "a.txt"
    file = put(home, top / name)
    assert terry.post("deleteFiles", ids=str(file)).code == 0
    put(home, top / name, b"another")
    [thrown] = [each for each in terry.get("trash").data if each["fileId"] == file]
    assert terry.post("restoreTrash", ids=str(thrown["id"])).code == 0
    assert sorted(path.read_bytes() for path in top.iterdir()) == [b"another", b"data"]
