"""A family's day with the library, by a client written from the seed's text."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.check import check
from eventlog.library import Right
from projections.replay import compare
from tests.api.library.family import Family, Person, family

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home")) as home:
        home.add("Terry", Right("photos", write=True), Right("music", write=False))
        home.add("Anna", Right("music", write=True))
        yield home
        home.look_after()
        home.nas.see()  # the table is what is on the disk, whoever changed what
        with home.nas.system.reader.connection() as connection:
            assert compare(connection).differences == [], "a replay gives another library"
            assert list(check(connection)) == []


@pytest.fixture
def anna(home: Family) -> Person:
    return home.person("anna")


def put(home: Family, path: Path, data: bytes = DATA) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    home.nas.see(path.parent)
    return home.number(path)


def listed(person: Person, **parameters: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    found: list[dict[str, Any]] = person.get("files", pageIndex=0, **parameters).data["list"]
    return found


def test_login_tells_who_one_is(home: Family) -> None:
    person = home.person()
    reply = person.log_in("terry")
    assert set(reply.data) >= {"id", "name", "createTime", "lastModifyTime"}
    assert reply.data["name"] == "Terry"
    assert "HttpOnly; Path=/; SameSite=Strict" in reply.fields["set-cookie"]
    assert person.get("helpInfo", type=0).code == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_greeting_says_that_it_is_there(home: Family, method: str) -> None:
    reply = home.person().ask(method, "/")
    assert (reply.status, reply.body) == (200, b"" if method == "HEAD" else b"hello world")
    assert home.person().ask("DELETE", "/").status == 405


def test_logout_ends_the_session_and_no_other(home: Family) -> None:
    one, two = home.person("terry"), home.person("terry")
    assert one.post("logout").data == ""
    assert one.get("catalogs", pids=-1).code == -10001
    assert two.get("catalogs", pids=-1).code == 0
    assert home.person().post("logout").data == ""


def test_what_is_copied_onto_the_nas_appears_by_itself(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "2026" / "beach.jpg")
    roots = terry.get("catalogs", pids=-1).data
    assert {each["name"] for each in roots} == {"photos", "music"}
    [root] = [each for each in roots if each["name"] == "photos"]
    assert (root["parentId"], root["rootId"]) == (-1, root["id"])
    [year] = [c for c in terry.get("catalogs", pids=root["id"]).data if c["name"] == "2026"]
    assert (year["subCatalogCount"], year["fileCount"]) == (0, 1)
    [file] = listed(terry, pids=year["id"])
    assert (file["id"], file["size"], file["catalogId"]) == (number, len(DATA), year["id"])
    assert (file["ext"], file["name"]) == ("jpg", "beach.jpg")


def test_pages_are_cut_and_counted(home: Family, terry: Person, photos: Path) -> None:
    folder = photos / "pages"
    folder.mkdir()
    for name in range(25):
        (folder / f"{name:02}.txt").write_bytes(b"x" * (100 - name))
    home.nas.see(photos)
    pid = home.number(folder)
    first = terry.get("files", pageIndex=0, maxPerPage=10, pids=pid, sort=3).data
    assert first["page"] == {"pageIndex": 0, "maxPerPage": 10, "pageCount": 3}
    assert [each["name"] for each in first["list"]] == [f"{n:02}.txt" for n in range(24, 14, -1)]
    last = terry.get("files", pageIndex=2, maxPerPage=10, pids=pid, sort=-3).data
    assert [each["name"] for each in last["list"]] == [f"{n:02}.txt" for n in range(20, 25)]
    page = terry.get("files", pageIndex=0, maxPerPage=9, pids=pid).data["page"]
    assert page["maxPerPage"] == 100
    assert terry.get("files", pageIndex=0, sort=9).data == {"list": []}
    assert terry.get("files").code == -10003


def test_catalogs_are_made_renamed_and_shown_elsewhere(
    home: Family, terry: Person, photos: Path
) -> None:
    root = home.root("photos")
    made = terry.post("createCatalog", parentId=root, name="Summer", memo="hot", helpInt=7).data
    assert (made["name"], made["memo"], made["helpInt"]) == ("Summer", "hot", 7)
    assert made["parentId"] == root
    assert (photos / "Summer").is_dir()
    again = terry.post("createCatalog", parentId=root, name="Summer").data
    assert (photos / "Summer (2)").is_dir()
    assert again["name"] == "Summer"
    odd = terry.post("createCatalog", parentId=root, name="../../etc/passwd").data
    assert odd["name"] == "../../etc/passwd"
    assert (photos / "_.._etc_passwd").is_dir()
    new = terry.post("updateCatalog", id=made["id"], name="Autumn", parentId=again["id"]).data
    assert (new["name"], new["parentId"]) == ("Autumn", again["id"])
    assert (photos / "Summer").is_dir()  # only the library knows
    assert [each["id"] for each in terry.get("catalogs", pids=again["id"]).data] == [made["id"]]


def test_a_catalog_with_a_name_that_the_feed_leaves_out_has_another_on_the_disk(
    home: Family, terry: Person, photos: Path
) -> None:
    made = terry.post("createCatalog", parentId=home.root("photos"), name="x.__tmp__").data
    assert made["name"] == "x.__tmp__"
    assert (photos / "catalog").is_dir()


def test_catalogs_refuse_what_cannot_be(home: Family, terry: Person) -> None:
    root = home.root("photos")
    outer = terry.post("createCatalog", parentId=root, name="Outer").data["id"]
    inner = terry.post("createCatalog", parentId=outer, name="Inner").data["id"]
    assert terry.post("updateCatalog", id=outer, parentId=inner).code == -10007
    assert terry.post("updateCatalog", id=outer, parentId=outer).code == -10007
    assert terry.post("updateCatalog", id=outer).code == -10010
    assert terry.post("updateCatalog", id=outer, name="Once").code == 0
    assert terry.post("updateCatalog", id=outer, name="Once").code == -10010
    assert terry.post("updateCatalog", id=10**9, name="x").code == -10004
    assert terry.post("createCatalog", parentId=10**9, name="x").code == -10007
    assert terry.post("createCatalog", parentId=root, name="").code == -10003
    assert terry.post("createCatalog", parentId=root, name="x" * 100).code == -10003


def test_files_are_described_renamed_and_shown_elsewhere(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "described.mp4")
    catalog = terry.post("createCatalog", parentId=home.root("photos"), name="Elsewhere").data["id"]
    told = {
        "name": "Ein Tag",
        "memo": "am See",
        "createTime": 1492571204,
        "type": 4,
        "width": 30,
        "height": 40,
        "orientation": 6,
        "helpText": "h",
        "catalogId": catalog,
        "ext": "mov",
    }
    after = terry.post("updateFile", id=number, longitude=13.5, **told).data
    assert {name: after[name] for name in told} == told
    assert "longitude" not in after
    assert terry.post("updateFile", id=number, duration=2.5).data["duration"] == 2.5
    assert [each["id"] for each in listed(terry, pids=catalog)] == [number]
    assert (photos / "described.mp4").exists()
    assert terry.post("updateFile", id=number, memo="am See").code == -10010
    assert terry.post("updateFile", id=number, orientation=9).code == -10003
    assert terry.post("updateFile", id=number, latitude=91).code == -10003
    assert terry.post("updateFile", id=number, memo="x" * 1025).code == -10003


def test_a_file_with_another_name_to_be_shown_is_of_the_same_kind(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "kind.mp4")
    after = terry.post("updateFile", id=number, name="Our trip, vol. 2").data
    assert (after["name"], after["ext"]) == ("Our trip, vol. 2", "mp4")


def test_help_info_is_kept_for_users_catalogs_and_files(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "helped.txt")
    for kind, of in ((0, 0), (1, home.root("photos")), (2, number)):
        reply = terry.post("updateHelpInfo", type=kind, id=of, helpInt=3, helpText="é")
        assert reply.json == {"code": 0}
        found = terry.get("helpInfo", type=kind, id=of).data
        assert (found["helpInt"], found["helpText"]) == (3, "é")
        assert found["lastModifyTime"] > 1_700_000_000
        terry.post("updateHelpInfo", type=kind, id=of, helpInt=4)
        assert terry.get("helpInfo", type=kind, id=of).data["helpText"] == "é"
    assert terry.post("updateHelpInfo", type=0).code == -10003
    assert terry.get("helpInfo", type=3, id=1).code == -10003


def test_parameters_come_as_json_as_a_form_or_in_the_query(home: Family, terry: Person) -> None:
    root = home.root("photos")
    form = f"parentId={root}&name=By+form".encode()
    kind = "application/x-www-form-urlencoded"
    made = terry.ask("POST", "/createCatalog.icc", form, Content_Type=kind)
    assert made.data["name"] == "By form"
    made = terry.ask("POST", f"/createCatalog.icc?parentId={root}&name=By%20query")
    assert made.data["name"] == "By query"
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("parentId", root), ("name", "By parts"))
    )
    body, kind = f"{parts}--b--\r\n".encode(), "multipart/form-data; boundary=b"
    made = terry.ask("POST", "/createCatalog.icc", body, Content_Type=kind)
    assert made.data["name"] == "By parts"
    kind = "application/json"
    assert terry.ask("POST", "/createCatalog.icc", b"{", Content_Type=kind).code == -10003


def test_files_are_read_whole_and_in_ranges(home: Family, terry: Person, photos: Path) -> None:
    number = put(home, photos / "film.mp4")
    target = f"/downFile.icc?id={number}"
    whole = terry.ask("GET", target)
    assert (whole.status, whole.body) == (200, DATA)
    assert whole.fields["accept-ranges"] == "bytes"
    for text, start, stop in (("0-9", 0, 10), ("-500", 9740, 10240), ("100-", 100, 10240)):
        part = terry.ask("GET", f"/downFile.icc.mp4?id={number}", Range=f"bytes={text}")
        assert (part.status, part.body) == (206, DATA[start:stop])
        assert part.fields["content-range"] == f"bytes {start}-{stop - 1}/10240"
    several = terry.ask("GET", target, Range="bytes=0-1,5-6")
    assert several.fields["content-type"].startswith("multipart/byteranges")
    assert terry.ask("GET", target, Range="bytes=99999-").status == 416
    assert terry.ask("GET", target, If_None_Match=whole.fields["etag"]).status == 304
    assert terry.ask("GET", target, Range="bytes=0-1", If_Range='"x"').status == 200
    head = terry.ask("HEAD", target)
    assert (head.status, head.body, head.fields["content-length"]) == (200, b"", "10240")
    assert terry.ask("GET", "/downFile.icc?id=999999").status == 404
    assert terry.ask("GET", "/downFile.icc?id=x").status == 416
    assert home.person().ask("GET", target).status == 403


@pytest.mark.parametrize("name", ["evil.html", "evil.svg", "evil.xhtml", "evil.js"])
def test_what_could_run_in_a_browser_is_mere_bytes(
    home: Family, terry: Person, photos: Path, name: str
) -> None:
    number = put(home, photos / name, b"<html><script>alert(1)</script></html>")
    reply = terry.ask("GET", f"/downFile.icc?id={number}")
    assert reply.fields["content-type"] == "application/octet-stream"
    assert reply.fields["content-disposition"].startswith("attachment")
    assert reply.fields["x-content-type-options"] == "nosniff"
    assert "sandbox" in reply.fields["content-security-policy"]


def test_a_file_is_saved_under_its_own_name_and_a_text_is_a_text(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / 'ä "q".txt', b"text")
    told = terry.ask("GET", f"/downFile.icc?id={number}").fields
    assert told["content-type"] == "text/plain"
    assert told["content-disposition"].endswith("; filename*=UTF-8''%C3%A4%20%22q%22.txt")


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site", "Origin": "http://{here}"}, 403),
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://behind.a.proxy"}, 200),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://{here}"}, 200),
        ({}, 200),
    ],
)
def test_pages_of_other_places_change_nothing(
    home: Family, terry: Person, photos: Path, told: dict[str, str], status: int
) -> None:
    number = put(home, photos / "wanted.txt")
    here = f"127.0.0.1:{terry.port}"
    fields = {name: value.format(here=here) for name, value in told.items()}
    body = f"ids={number}".encode()
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert terry.ask("POST", "/deleteFiles.icc", body, **form, **fields).status == status
    assert (photos / "wanted.txt").exists() == (status == 403)
    assert terry.ask("GET", "/catalogs.icc?pids=-1", None, **fields).code == 0
    if "Origin" in fields:
        begun = terry.ask("POST", "/uploads", b"", Tus_Resumable="1.0.0", **fields)
        assert (begun.status == 403) == (status == 403)


def test_a_share_needs_no_login_and_dies_with_the_file(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "shared.mp4")
    shared = terry.get("shareFileUrl", id=number)
    key = shared.data
    assert shared.json["shareKey"] == key
    stranger = home.person()
    assert stranger.ask("GET", f"/shareFile.icc.mp4?shareKey={key}").body == DATA
    assert stranger.ask("GET", f"/shareFile.icc?shareKey={key}x").status == 404
    other = terry.get("shareFileUrl", id=number).data
    assert other != key
    assert terry.post("revokeShare", shareKey=other).data == "OK"
    assert stranger.ask("GET", f"/shareFile.icc?shareKey={other}").status == 404
    assert terry.post("deleteFiles", ids=str(number)).data == "OK"
    assert stranger.ask("GET", f"/shareFile.icc?shareKey={key}").status == 404


def test_a_share_with_a_count_is_read_so_many_times(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "counted.mp4")
    stranger = home.person()
    key = terry.get("shareFileUrl", id=number, count=2).data
    target = f"/shareFile.icc.mp4?shareKey={key}"
    assert stranger.ask("GET", target).body == DATA
    assert stranger.ask("HEAD", target).status == 200
    assert stranger.ask("GET", target, Range="bytes=0-1").body == DATA[:2]  # as players begin
    assert stranger.ask("GET", target, Range="bytes=99999-").status == 416
    assert stranger.ask("GET", target, Range="bytes=0-").body == DATA
    ended = stranger.ask("GET", target)
    assert (ended.status, ended.code) == (404, -10003)
    for count in (0, -1, "x", 10**7):
        assert terry.get("shareFileUrl", id=number, count=count).code == -10003


def test_what_a_cut_kept_from_a_reader_is_not_counted(
    home: Family, terry: Person, photos: Path
) -> None:
    data = bytes(20_000_000)
    number = put(home, photos / "cut.mp4", data)
    key = terry.get("shareFileUrl", id=number, count=1).data
    target = f"/shareFile.icc.mp4?shareKey={key}"
    with socket.create_connection(("127.0.0.1", terry.port)) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 200")

    def left() -> int:
        with home.store.reading() as view:
            return next(s.left or 0 for _, s in view.library.shares() if s.node == number)

    home.nas.wait(lambda: left() > 0, "what was not sent is given back")
    assert home.person().ask("GET", target).body == data
    assert home.person().ask("GET", target).status == 404


def test_what_is_deleted_lies_in_the_trash_and_comes_back(
    home: Family, terry: Person, anna: Person, photos: Path
) -> None:
    number = put(home, photos / "gone" / "a.txt")
    put(home, photos / "gone" / "b.txt")
    pid = home.number(photos / "gone")
    terry.post("updateFile", id=number, memo="dear")
    assert terry.post("deleteFiles", ids=str(number)).data == "OK"
    assert not (photos / "gone" / "a.txt").exists()
    assert [each["name"] for each in listed(terry, pids=pid)] == ["b.txt"]
    [found] = [each for each in terry.get("trash").data if each["path"] == "gone/a.txt"]
    assert (found["deleteUser"], found["size"], found["root"]) == ("Terry", len(DATA), "photos")
    assert found["id"] not in [each["id"] for each in anna.get("trash").data]
    assert anna.post("restoreTrash", ids=str(found["id"])).code == -10004
    assert terry.post("restoreTrash", ids=str(found["id"])).data == "OK"
    assert (photos / "gone" / "a.txt").read_bytes() == DATA
    assert [f["memo"] for f in listed(terry, pids=pid) if f["name"] == "a.txt"] == ["dear"]
    assert terry.post("restoreTrash", ids=str(found["id"])).code == -10004


def test_what_was_deleted_piece_by_piece_is_put_together_again(
    home: Family, terry: Person, photos: Path
) -> None:
    file = put(home, photos / "pieces" / "inner" / "a.txt")
    inner, outer = home.number(photos / "pieces" / "inner"), home.number(photos / "pieces")
    assert terry.post("updateCatalog", id=inner, memo="dear").code == 0
    assert terry.post("deleteFiles", ids=str(file)).code == 0
    for number in (inner, outer):
        assert terry.post("deleteCatalog", ids=str(number)).code == 0
    gone = [each["id"] for each in terry.get("trash").data if each["path"].startswith("pieces")]
    assert terry.post("restoreTrash", ids=",".join(map(str, sorted(gone)))).data == "OK"
    assert sorted(path.name for path in photos.glob("pieces*/**/*")) == ["a.txt", "inner"]
    home.nas.see(photos)
    [again] = terry.get("catalogs", pids=home.number(photos / "pieces")).data
    assert again["memo"] == "dear"


def test_a_catalog_goes_to_the_trash_whole(home: Family, terry: Person, photos: Path) -> None:
    inner = put(home, photos / "whole" / "deep" / "a.txt")
    assert terry.post("updateFile", id=inner, memo="deep down").code == 0
    put(home, photos / "whole" / "b.txt")
    number = home.number(photos / "whole")
    assert terry.post("deleteCatalog", ids=str(number)).data == "OK"
    assert not (photos / "whole").exists()
    assert terry.get("catalogs", pids=number).code == -10004
    [found] = [each for each in terry.get("trash").data if each["path"] == "whole"]
    assert (found["isCatalog"], found["size"]) == (True, 2 * len(DATA))
    assert terry.post("restoreTrash", ids=str(found["id"])).data == "OK"
    assert (photos / "whole" / "deep" / "a.txt").exists()
    home.nas.see(photos)
    home.look_after()
    pid = home.number(photos / "whole" / "deep")
    assert [each["memo"] for each in listed(terry, pids=pid)] == ["deep down"]
    assert found["id"] not in [each["id"] for each in terry.get("trash").data]
    assert terry.post("deleteCatalog", ids=str(home.root("photos"))).code == -10002


def test_a_catalog_that_is_in_another_one_is_deleted_with_it(
    home: Family, terry: Person, photos: Path
) -> None:
    put(home, photos / "outermost" / "inner" / "a.txt")
    inner, outer = home.number(photos / "outermost" / "inner"), home.number(photos / "outermost")
    before = len(terry.get("trash").data)
    assert terry.post("deleteCatalog", ids=f"{outer},{inner}").data == "OK"
    assert not (photos / "outermost").exists()
    assert len(terry.get("trash").data) == before + 1


def test_another_users_things_are_not_there(
    home: Family, terry: Person, anna: Person, photos: Path
) -> None:
    number = put(home, photos / "private.txt")
    root = home.root("photos")
    assert anna.get("catalogs", pids=root).code == -10004
    assert listed(anna, rootIds=root) == []
    assert listed(anna, pids=root) == []
    assert anna.ask("GET", f"/downFile.icc?id={number}").status == 404
    assert anna.post("updateFile", id=number, memo="x").code == -10004
    assert anna.post("deleteFiles", ids=str(number)).code == -10004
    assert anna.post("updateHelpInfo", type=2, id=number, helpInt=1).code == -10004
    assert anna.get("shareFileUrl", id=number).code == -10004
    music = put(home, home.nas.roots["music"] / "song.mp3")
    assert terry.ask("GET", f"/downFile.icc?id={music}").status == 200
    assert terry.post("deleteFiles", ids=str(music)).code == -10002
    assert terry.post("updateFile", id=music, memo="x").code == -10002


def test_what_is_said_of_a_file_goes_with_it_but_stays_while_it_is_in_the_trash(
    home: Family, terry: Person, photos: Path
) -> None:
    gone, trashed = (put(home, photos / f"{name}.txt") for name in ("buried", "kept"))
    for number in (gone, trashed):
        assert terry.post("updateFile", id=number, memo="m").code == 0
    terry.post("deleteFiles", ids=str(trashed))
    (photos / "buried.txt").unlink()
    home.nas.see(photos)
    home.look_after()
    with home.store.reading() as view:
        assert view.library.note(gone) is None
        assert view.library.note(trashed) is not None


def test_a_file_that_goes_from_the_disk_goes_from_the_library(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "fleeting.txt")
    (photos / "fleeting.txt").unlink()
    home.nas.see(photos)
    assert terry.ask("GET", f"/downFile.icc?id={number}").status == 404
    assert terry.get("helpInfo", type=2, id=number).code == -10004
