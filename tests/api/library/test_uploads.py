"""Uploads: announced, sent by position, cut and resumed, and only then files."""

import asyncio
import contextlib
import hashlib
import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from api.asgi import Message
from api.library.incoming import Incoming
from api.library.progress import EVERY_BYTES
from api.library.uploading import Busy
from api.library.wire import LibraryError
from eventlog.library import Right
from projections import library_users
from tests.api.library.family import Family, Person, Reply, family
from tests.serving import wait_until

DATA = bytes(range(256)) * 4_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home")) as home:
        home.add("Terry", Right("photos", write=True))
        home.add("Anna", Right("photos", write=True))
        yield home
        home.nas.see()


def announce(home: Family, person: Person, size: int = len(DATA), **more: Any) -> dict[str, Any]:  # noqa: ANN401
    told = {"cid": home.root("photos"), "name": "film", "type": 4, "ext": "mp4", "size": size}
    info: dict[str, Any] = person.post("uploadFileInfo", **(told | more)).data
    return info


def form(**parts: bytes) -> tuple[bytes, str]:
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="x"; filename="%b"\r\n\r\n%b\r\n'
        % (name.encode(), data)
        for name, data in parts.items()
    )
    return body + b"--b--\r\n", "multipart/form-data; boundary=b"


def send(person: Person, number: int, parts: dict[str, bytes], **parameters: Any) -> Reply:  # noqa: ANN401
    body, kind = form(**parts)
    query = urlencode({"id": number, **parameters})
    return person.ask("POST", f"/uploadFile.icc?{query}", body, Content_Type=kind)


def send_cut(person: Person, number: int, data: bytes, begin: int, cut: int) -> None:
    """Send a form and hang up in the middle of it."""
    body, kind = form(origin=data)
    connection = http.client.HTTPConnection("127.0.0.1", person.port, timeout=60)
    connection.putrequest("POST", f"/uploadFile.icc?id={number}&obp={begin}")
    for name, value in (
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("Cookie", person.cookie),
    ):
        connection.putheader(name, value)
    connection.endheaders(body[:cut])
    connection.close()


def uploading(person: Person, number: int) -> dict[str, Any]:
    found: list[dict[str, Any]] = person.get("uploadingInfo").data
    return next(each for each in found if each["id"] == number)


def test_a_file_is_announced_sent_and_there(home: Family, terry: Person, photos: Path) -> None:
    told: dict[str, Any] = {
        "memo": "m",
        "createTime": 1492571204,
        "lastModifyTime": 1492571300,
        "width": 3,
    }
    info = announce(home, terry, **told)
    assert (info["uploadingOriginSize"], info["uploadingThumbSize"]) == (0, 0)
    assert not (photos / "film.mp4").exists()
    reply = send(terry, info["id"], {"origin": DATA}, cm="sha1").data
    assert reply["check"] == {"origin": hashlib.sha1(DATA, usedforsecurity=False).hexdigest()}
    file = reply["fileInfo"]
    assert "uploadingOriginSize" not in file
    assert {name: file[name] for name in told} == told
    assert (file["name"], file["ext"], file["size"]) == ("film", "mp4", len(DATA))
    assert (photos / "film.mp4").read_bytes() == DATA
    assert (photos / "film.mp4").stat().st_mtime == 1492571300
    assert file["id"] == home.number(photos / "film.mp4")
    own = terry.get("files", pageIndex=0, onlySelfUpload=1).data["list"]
    assert file["id"] in [each["id"] for each in own]
    assert terry.ask("GET", f"/downFile.icc?id={info['id']}").body == DATA  # the old number, too
    assert info["id"] not in [each["id"] for each in terry.get("uploadingInfo").data]


def test_an_upload_goes_on_after_any_cut(home: Family, terry: Person, photos: Path) -> None:
    number = announce(home, terry, name="cut")["id"]
    sent = 0
    for cut in (300_000, 600_000, 200_000):
        send_cut(terry, number, DATA[sent:], sent, cut)
        before = sent
        wait_until(
            lambda: uploading(terry, number)["uploadingOriginSize"] > before,  # noqa: B023
            "something of it is stored",
        )
        sent = uploading(terry, number)["uploadingOriginSize"]
        if sent >= len(DATA) - 300_000:
            break
    assert 0 < sent < len(DATA)
    assert not (photos / "cut.mp4").exists()
    reply = send(terry, number, {"origin": DATA[sent:]}, obp=sent, cm="md5").data
    assert reply["check"]["origin"] == hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    assert (photos / "cut.mp4").read_bytes() == DATA


def test_an_upload_goes_on_though_the_broken_line_is_silent(
    home: Family, terry: Person, photos: Path
) -> None:
    number = announce(home, terry, name="silent")["id"]
    body, kind = form(origin=DATA)
    with socket.create_connection(("127.0.0.1", terry.port)) as silent:
        head = (
            f"POST /uploadFile.icc?id={number} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Cookie: {terry.cookie}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        silent.sendall(head.encode() + body[:500_000])
        wait_until(lambda: home.received(number) > 0, "some has come")
        assert send(terry, number, {"origin": DATA[:300_000]}).code == 0
        assert uploading(terry, number)["uploadingOriginSize"] == 300_000
        assert b" 409 " in silent.recv(100)
    assert send(terry, number, {"origin": DATA[300_000:]}, obp=300_000).code == 0
    assert (photos / "silent.mp4").read_bytes() == DATA


def test_an_older_request_does_not_write_after_a_newer_one() -> None:
    async def tried() -> list[int]:
        busy, older, newer = Busy(), Incoming(nothing), Incoming(nothing)
        statuses: list[int] = []
        for incoming in (newer, older, Incoming(nothing)):
            try:
                async with busy.alone(1, incoming):
                    statuses.append(200)
            except LibraryError as error:
                statuses.append(error.status)
        return statuses

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    assert asyncio.run(tried()) == [200, 409, 200]


@pytest.mark.parametrize("by_tus", [False, True])
def test_the_log_knows_how_far_a_long_request_is(
    home: Family, terry: Person, *, by_tus: bool
) -> None:
    number = announce(home, terry, 2 * EVERY_BYTES, name=f"long{by_tus}")["id"]
    begin, kind = b"", "application/offset+octet-stream"
    if not by_tus:
        body, kind = form(origin=b"")
        begin = body.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    target = f"/uploads/{number}" if by_tus else f"/uploadFile.icc?id={number}"
    told = {"Content-Type": kind, "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    told |= {"Cookie": terry.cookie, "Content-Length": str(len(begin) + 2 * EVERY_BYTES)}

    def noted() -> int:
        with home.store.reading() as view:
            upload = view.library.upload(number)
        assert upload is not None
        return upload.sizes[0]

    connection = http.client.HTTPConnection("127.0.0.1", terry.port, timeout=60)
    with contextlib.closing(connection):
        connection.putrequest("PATCH" if by_tus else "POST", target)
        for name, value in told.items():
            connection.putheader(name, value)
        connection.endheaders(begin + bytes(EVERY_BYTES + 100_000))
        wait_until(lambda: noted() >= EVERY_BYTES, "the log knows of it, and the request goes on")


def test_an_upload_goes_on_when_its_catalog_is_back_from_the_trash(
    home: Family, terry: Person, photos: Path
) -> None:
    outer = terry.post("createCatalog", parentId=home.root("photos"), name="Back").data["id"]
    inner = terry.post("createCatalog", parentId=outer, name="Inner").data["id"]
    numbers = [announce(home, terry, 4, name="rest", cid=each)["id"] for each in (outer, inner)]
    for number in numbers:
        send(terry, number, {"origin": b"da"})
    assert terry.post("deleteCatalog", ids=str(outer)).code == 0
    assert send(terry, numbers[0], {"origin": b"ta"}, obp=2).code == -10004
    [found] = [each for each in terry.get("trash").data if each["fileId"] == outer]
    assert terry.post("restoreTrash", ids=str(found["id"])).code == 0
    home.number(photos / "Back" / "Inner")
    home.look_after()
    for number in numbers:
        assert send(terry, number, {"origin": b"ta"}, obp=2).code == 0
    paths = photos / "Back" / "rest.mp4", photos / "Back" / "Inner" / "rest.mp4"
    assert [path.read_bytes() for path in paths] == [b"data", b"data"]


def test_uploads_are_listed_while_their_root_is_away(tmp_path: Path) -> None:
    with family(tmp_path) as home:
        home.add("Terry", Right("photos", write=True))
        terry, photos = home.person("terry"), home.nas.roots["photos"]
        number = announce(home, terry, 4)["id"]
        send(terry, number, {"origin": b"da"})
        aside = photos.rename(tmp_path / "aside")
        home.nas.wait(lambda: home.nas.statuses()[0].state == "offline", "the root is away")
        [found] = terry.get("uploadingInfo").data
        assert (found["id"], found["uploadingOriginSize"]) == (number, 2)
        assert send(terry, number, {"origin": b"ta"}, obp=2).code == -102
        aside.rename(photos)
        home.nas.wait(lambda: home.nas.statuses()[0].state == "online", "the root is back")
        assert send(terry, number, {"origin": b"ta"}, obp=2).code == 0


def test_what_was_sent_wrongly_is_sent_again_from_its_begin(
    home: Family, terry: Person, photos: Path
) -> None:
    number = announce(home, terry, name="again")["id"]
    send(terry, number, {"origin": b"x" * 1000})
    assert uploading(terry, number)["uploadingOriginSize"] == 1000
    assert send(terry, number, {"origin": DATA}, obp=0).code == 0
    assert (photos / "again.mp4").read_bytes() == DATA


def test_a_finished_upload_stays_as_it_is(home: Family, terry: Person, photos: Path) -> None:
    number = announce(home, terry, 4, name="done")["id"]
    send(terry, number, {"origin": b"done"})
    again = send(terry, number, {"origin": b"evil"}, obp=0)
    assert (again.status, again.code) == (200, 0)
    assert (photos / "done.mp4").read_bytes() == b"done"


def test_thumbnails_that_come_later_are_for_either_number_of_the_file(
    home: Family, terry: Person
) -> None:
    told = {"name": "later", "type": 1, "statusForThumb": 2, "statusForScreen": 2}
    number = announce(home, terry, 4, **told)["id"]
    file = send(terry, number, {"origin": b"done"}).data["fileInfo"]["id"]
    assert file != number
    assert terry.get("thumbnail", id=file).code == -10009
    assert send(terry, number, {"thumb": b"small"}).code == 0
    assert send(terry, file, {"screen": b"large"}).code == 0
    assert terry.get("thumbnail", id=file).body == b"small"
    assert terry.get("thumbnail", id=number, level=1).body == b"large"
    assert send(home.person("anna"), file, {"screen": b"evil"}).code == -10004


@pytest.mark.parametrize(
    ("parts", "parameters"),
    [
        ({"origin": b"xxxxx"}, {}),  # one byte more than announced
        ({"origin": b"x"}, {"obp": 1}),
        ({"origin": b"x"}, {"obp": -1}),
        ({"evil": b"x"}, {}),
        ({"origin": b"x"}, {"cm": "sha256"}),
        ({"origin": b"x"}, {"obp": "x"}),
    ],
)
def test_what_does_not_fit_is_refused(
    home: Family, terry: Person, parts: dict[str, bytes], parameters: dict[str, Any]
) -> None:
    number = announce(home, terry, 4, name="refused")["id"]
    assert send(terry, number, parts, **parameters).code == -10003
    assert uploading(terry, number)["uploadingOriginSize"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"size": -1},
        {"name": ""},
        {"name": "x" * 101},
        {"ext": "x" * 11},
        {"ext": ""},
        {"type": 3},
        {"type": None},
        {"memo": "x" * 1025},
        {"statusForThumb": 1},
    ],
)
def test_what_cannot_be_announced_is_refused(
    home: Family, terry: Person, more: dict[str, Any]
) -> None:
    told = {"cid": home.root("photos"), "name": "a", "type": 4, "ext": "mp4", "size": 1}
    assert terry.post("uploadFileInfo", **(told | more)).code == -10003


def test_an_unknown_catalog_is_refused(home: Family, terry: Person) -> None:
    told = {"name": "a", "type": 4, "ext": "mp4", "size": 1}
    assert terry.post("uploadFileInfo", cid=10**9, **told).code == -10007
    assert terry.post("uploadFileInfo", cid=home.root("music"), **told).code == -10007


@pytest.mark.parametrize(
    "name", ["..", "../../evil", ".htaccess", "a/b", "x" * 100, "nul\x00name", "CON", " . "]
)
def test_a_hostile_name_is_shown_and_harms_nobody(
    home: Family, terry: Person, photos: Path, name: str
) -> None:
    before = set(photos.parent.iterdir())
    number = announce(home, terry, 4, name=name)["id"]
    file = send(terry, number, {"origin": b"data"}).data["fileInfo"]
    assert file["name"] == name
    assert set(photos.parent.iterdir()) == before
    assert terry.ask("GET", f"/downFile.icc?id={file['id']}").body == b"data"


def test_two_files_of_one_name_are_two_files(home: Family, terry: Person, photos: Path) -> None:
    for data in (b"one!", b"two!"):
        number = announce(home, terry, 4, name="twice")["id"]
        assert send(terry, number, {"origin": data}).data["fileInfo"]["name"] == "twice"
    assert (photos / "twice.mp4").read_bytes() == b"one!"
    assert (photos / "twice (2).mp4").read_bytes() == b"two!"


def test_an_empty_file_is_whole_at_once(home: Family, terry: Person, photos: Path) -> None:
    announce(home, terry, 0, name="empty")
    assert (photos / "empty.mp4").read_bytes() == b""


def test_nobody_else_goes_on_with_an_upload(home: Family, terry: Person) -> None:
    number = announce(home, terry, 4, name="mine")["id"]
    anna = home.person("anna")
    assert send(anna, number, {"origin": b"evil"}).code == -10004
    assert number not in [each["id"] for each in anna.get("uploadingInfo").data]
    assert send(home.person(), number, {"origin": b"evil"}).code == -10001
    assert uploading(terry, number)["uploadingOriginSize"] == 0


def test_a_user_who_goes_takes_unfinished_uploads_along(home: Family, photos: Path) -> None:
    home.add("Guest", Right("photos", write=True))
    guest = home.person("guest")
    number = announce(home, guest, 4, name="orphan")["id"]
    send(guest, number, {"origin": b"ab"})
    own = photos / ".nasfeed" / "uploads"
    before = len(list(own.iterdir()))
    assert before
    home.store.change(library_users.remove("guest"), "test")
    assert send(guest, number, {"origin": b"cd"}, obp=2).code == -10001
    home.look_after()
    assert len(list(own.iterdir())) < before


def test_a_file_that_was_uploaded_is_in_the_log_with_its_author(
    home: Family, terry: Person, photos: Path
) -> None:
    number = announce(home, terry, 4, name="authored")["id"]
    send(terry, number, {"origin": b"data"})
    assert home.author_of(photos / "authored.mp4") == "library:Terry"
