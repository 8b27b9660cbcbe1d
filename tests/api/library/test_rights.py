"""Who may do what: every route, tried by nobody, a writer, a reader, a stranger, a revoked one."""

import io
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

import pytest
from PIL import Image

from api.library.routes import ROUTES, Kind
from eventlog.library import Right
from projections import library_users
from tests.api.library.family import PASSWORD, Family, Person, Reply, family, hashed

if TYPE_CHECKING:
    from pathlib import Path

NOBODY, WRITER, READER, STRANGER, REVOKED = "nobody", "writer", "reader", "stranger", "revoked"
ALL = {NOBODY, WRITER, READER, STRANGER, REVOKED}
LOGGED_IN = {WRITER, READER, STRANGER}

_names = itertools.count()


def _picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(made, "PNG")
    return made.getvalue()


PICTURE = _picture()


class Things(NamedTuple):
    """What a request can be about: each is made anew for it, because some requests remove it."""

    root: int
    catalog: int
    file: int
    trashed: int
    key: str
    upload: int


class Row(NamedTuple):
    """A row of the matrix: what is asked, and who may."""

    parameters: Callable[[Things], dict[str, Any]]
    allowed: set[str]


MATRIX = {
    "login": Row(lambda _: {"userName": WRITER, "password": PASSWORD}, ALL),
    "logout": Row(lambda _: {}, ALL),
    "helpInfo": Row(lambda t: {"type": 2, "id": t.file}, {WRITER, READER}),
    "updateHelpInfo": Row(lambda t: {"type": 2, "id": t.file, "helpInt": 1}, {WRITER}),
    "catalogs": Row(lambda t: {"pids": str(t.root)}, {WRITER, READER}),
    "createCatalog": Row(lambda t: {"parentId": t.root, "name": f"c{next(_names)}"}, {WRITER}),
    "deleteCatalog": Row(lambda t: {"ids": str(t.catalog)}, {WRITER}),
    "updateCatalog": Row(lambda t: {"id": t.catalog, "memo": f"m{next(_names)}"}, {WRITER}),
    "files": Row(lambda _: {"pageIndex": 0}, LOGGED_IN),  # a stranger's list is empty
    "mediaInfo": Row(lambda t: {"id": t.file}, {WRITER, READER}),
    "updateFile": Row(lambda t: {"id": t.file, "memo": f"m{next(_names)}"}, {WRITER}),
    "deleteFiles": Row(lambda t: {"ids": str(t.file)}, {WRITER}),
    "thumbnail": Row(lambda t: {"id": t.file}, {WRITER, READER}),
    "downFile": Row(lambda t: {"id": t.file}, {WRITER, READER}),
    "shareFileUrl": Row(lambda t: {"id": t.file}, {WRITER, READER}),
    "revokeShare": Row(lambda t: {"shareKey": t.key}, {WRITER}),  # it is the writer's
    "shareFile": Row(lambda t: {"shareKey": t.key}, ALL),
    "uploadFileInfo": Row(
        lambda t: {"cid": t.catalog, "name": "a", "size": 4, "type": 1, "ext": "jpg"}, {WRITER}
    ),
    "uploadingInfo": Row(lambda _: {}, LOGGED_IN),  # one's own
    "uploadFile": Row(lambda t: {"id": t.upload}, {WRITER}),  # it is the writer's
    "trash": Row(lambda _: {}, LOGGED_IN),  # a stranger's is empty
    "restoreTrash": Row(lambda t: {"ids": str(t.trashed)}, {WRITER}),
    "emptyTrash": Row(lambda t: {"ids": str(t.trashed)}, {WRITER}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home"), online_threshold=1_000) as home:
        home.add(WRITER, Right("photos", write=True))
        home.add(READER, Right("photos", write=False))
        home.add(STRANGER, Right("music", write=True))
        home.add(REVOKED, Right("photos", write=True))
        yield home


@pytest.fixture(scope="module")
def people(home: Family) -> dict[str, Person]:
    people = {name: home.person(name) for name in (WRITER, READER, STRANGER, REVOKED)}
    job = library_users.change_user(REVOKED, password=hashed())
    home.store.change(job, "test")
    return {**people, NOBODY: home.person()}


def things(home: Family, writer: Person) -> Things:
    number, root = next(_names), home.root("photos")
    top: Path = home.nas.roots["photos"]
    catalog = writer.post("createCatalog", parentId=root, name=f"catalog {number}").data["id"]
    for name in (f"{number}.png", f"gone {number}.png"):
        (top / name).write_bytes(PICTURE)
    file = home.number(top / f"{number}.png")
    gone = home.number(top / f"gone {number}.png")
    assert writer.post("deleteFiles", ids=str(gone)).code == 0
    [trashed] = [each["id"] for each in writer.get("trash").data if each["fileId"] == gone]
    key = writer.get("shareFileUrl", id=file).data
    told = {"name": "a", "size": 4, "type": 1, "ext": "jpg"}
    upload = writer.post("uploadFileInfo", cid=catalog, **told).data["id"]
    return Things(root, catalog, file, trashed, key, upload)


def ask(person: Person, name: str, parameters: dict[str, Any]) -> Reply:
    if "GET" in ROUTES[name].methods:
        return person.get(name, **parameters)
    if ROUTES[name].kind is Kind.UPLOAD:
        return person.ask("POST", f"/{name}.icc?{urlencode(parameters)}")
    return person.post(name, **parameters)


def is_done(reply: Reply, kind: Kind) -> bool:
    is_bytes = kind is Kind.FILE or reply.fields["content-type"] == "image/jpeg"
    return reply.status == 200 and (is_bytes or reply.code == 0)


def test_every_route_has_a_row() -> None:
    assert MATRIX.keys() == ROUTES.keys()


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_is_for_those_who_may_and_for_nobody_else(
    home: Family, people: dict[str, Person], name: str
) -> None:
    row = MATRIX[name]
    found = things(home, home.person(WRITER))
    for who in sorted(ALL - row.allowed):
        reply = ask(people[who], name, row.parameters(found))
        assert not is_done(reply, ROUTES[name].kind), who
        if who in (NOBODY, REVOKED):
            assert reply.code == -10001, who
        elif ROUTES[name].kind is not Kind.FILE:
            assert reply.code in (-10002, -10003, -10004, -10007), who
    for who in sorted(row.allowed):
        # A fresh login, because one row logs out, and fresh things, because some rows remove them.
        person = home.person(who) if who in LOGGED_IN else people[who]
        fresh = things(home, home.person(WRITER))
        assert is_done(ask(person, name, row.parameters(fresh)), ROUTES[name].kind), who


def test_only_what_one_may_change_is_emptied(home: Family) -> None:
    writer = home.person(WRITER)
    trashed = things(home, writer).trashed
    for who in (READER, STRANGER):
        assert home.person(who).post("emptyTrash", ids="-1").code == 0
    assert trashed in [each["id"] for each in writer.get("trash").data]
    assert writer.post("emptyTrash", ids="-1").code == 0
    assert writer.get("trash").data == []
    assert list((home.nas.roots["photos"] / ".nasfeed" / "trash").iterdir()) == []


def test_a_stranger_sees_nothing_of_others(home: Family) -> None:
    things(home, home.person(WRITER))
    stranger = home.person(STRANGER)
    assert stranger.get("files", pageIndex=0).data["list"] == []
    assert stranger.get("trash").data == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("name", ROUTES)
def test_other_methods_are_refused(home: Family, name: str, method: str) -> None:
    if method not in ROUTES[name].methods:
        reply = home.person().ask(method, f"/{name}.icc")
        assert (reply.status, reply.fields["allow"]) == (405, ", ".join(ROUTES[name].methods))


@pytest.mark.parametrize("path", ["/nothing.icc", "/catalogs.icd", "/catalogs.icc.mp4"])
def test_other_paths_are_not_found(home: Family, path: str) -> None:
    assert home.person(WRITER).ask("GET", path).status == 404
