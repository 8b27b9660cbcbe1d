"""tus 1.0, with a real client and by hand."""

import base64
import hashlib
import http.client
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tusclient.client import TusClient

from api.library.tus import METHODS
from eventlog.library import Right
from tests.api.library.family import Family, Person, Reply, family

DATA = bytes(range(256)) * 20_000
TUS: Any = {"Tus_Resumable": "1.0.0"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home"), upload_max=10_000_000) as home:
        home.add("Terry", Right("photos", write=True))
        home.add("Anna", Right("photos", write=True))
        home.add("Reader", Right("photos", write=False))
        yield home


def metadata(**values: object) -> str:
    pairs = ((k, base64.b64encode(str(v).encode()).decode()) for k, v in values.items())
    return ",".join(f"{key} {value}" for key, value in pairs)


def create(home: Family, person: Person, size: int = 4, name: str = "a.txt", **more: str) -> Reply:
    told = metadata(filename=name, catalogId=home.root("photos"))
    fields: Any = {"Upload_Length": str(size), "Upload_Metadata": told}
    return person.ask("POST", "/uploads", **(TUS | fields | more))


def patch(person: Person, target: str, offset: int, data: bytes, **more: str) -> Reply:
    fields: Any = {"Upload_Offset": str(offset), "Content_Type": "application/offset+octet-stream"}
    return person.ask("PATCH", target, data, **(TUS | fields | more))


@pytest.mark.parametrize("with_sums", [False, True])
def test_a_real_client_uploads(
    home: Family, terry: Person, photos: Path, *, with_sums: bool
) -> None:
    client = TusClient(f"http://127.0.0.1:{terry.port}/uploads", headers={"Cookie": terry.cookie})
    name = f"real{with_sums}.mp4"
    told = {"filename": name, "catalogId": str(home.root("photos"))}
    uploader = client.uploader(
        file_stream=io.BytesIO(DATA),
        chunk_size=1_000_000,
        metadata=told,
        upload_checksum=with_sums,
    )
    uploader.upload_chunk()  # type: ignore[no-untyped-call]  # it has no types
    assert not (photos / name).exists()
    again = client.uploader(
        file_stream=io.BytesIO(DATA),
        chunk_size=1_000_000,
        url=uploader.url,
        upload_checksum=with_sums,
    )
    assert again.offset == 1_000_000
    again.upload()
    assert (photos / name).read_bytes() == DATA
    [file] = [f for f in terry.get("files", pageIndex=0).data["list"] if f["name"] == name]
    assert (file["type"], file["ext"]) == (4, "mp4")


def test_what_the_server_can_do_is_told(home: Family) -> None:
    reply = home.person().ask("OPTIONS", "/uploads")
    assert reply.status == 204
    assert reply.fields["tus-version"] == "1.0.0"
    assert set(reply.fields["tus-extension"].split(",")) == {
        *("creation", "expiration", "checksum", "termination")
    }
    assert reply.fields["tus-max-size"] == "10000000"


def test_an_upload_is_begun_looked_at_and_finished(
    home: Family, terry: Person, photos: Path
) -> None:
    begun = create(home, terry, name="by hand.txt")
    target = begun.fields["location"]
    assert (begun.status, begun.fields["tus-resumable"]) == (201, "1.0.0")
    assert "upload-expires" in begun.fields
    head = terry.ask("HEAD", target, **TUS)
    assert (head.fields["upload-offset"], head.fields["upload-length"]) == ("0", "4")
    assert head.fields["cache-control"] == "no-store"
    name = base64.b64encode(b"by hand.txt").decode()
    assert f"filename {name}" in head.fields["upload-metadata"].split(",")
    half = patch(terry, target, 0, b"da")
    assert (half.status, half.fields["upload-offset"]) == (204, "2")
    assert patch(terry, target, 0, b"xx").status == 409
    assert patch(terry, target, 2, b"ta", Content_Type="text/plain").status == 415
    assert patch(terry, target, 2, b"too long").status == 413
    assert patch(terry, target, 2, b"ta").fields["upload-offset"] == "4"
    assert (photos / "by hand.txt").read_bytes() == b"data"
    assert terry.ask("HEAD", target, **TUS).fields["upload-offset"] == "4"


def test_parts_that_are_to_be_put_together_are_refused(home: Family, terry: Person) -> None:
    assert create(home, terry, name="part", Upload_Concat="partial").status == 400


def test_a_wrong_checksum_changes_nothing(home: Family, terry: Person, photos: Path) -> None:
    target = create(home, terry, name="sum.txt").fields["location"]
    wrong = base64.b64encode(hashlib.sha1(b"x", usedforsecurity=False).digest()).decode()
    assert patch(terry, target, 0, b"data", Upload_Checksum=f"sha1 {wrong}").status == 460
    assert terry.ask("HEAD", target, **TUS).fields["upload-offset"] == "0"
    assert not (photos / "sum.txt").exists()
    right = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
    assert patch(terry, target, 0, b"data", Upload_Checksum=f"sha256 {right}").status == 204
    assert (photos / "sum.txt").read_bytes() == b"data"
    assert patch(terry, target, 4, b"", Upload_Checksum="crc32 x").status == 400


def test_an_upload_can_be_given_up(home: Family, terry: Person, photos: Path) -> None:
    target = create(home, terry, name="given up.txt").fields["location"]
    patch(terry, target, 0, b"da")
    assert terry.ask("DELETE", target, **TUS).status == 204
    assert terry.ask("HEAD", target, **TUS).status == 404
    assert patch(terry, target, 2, b"ta").status == 404
    assert not (photos / "given up.txt").exists()


def test_a_finished_upload_is_not_given_up(home: Family, terry: Person, photos: Path) -> None:
    told = {"cid": home.root("photos"), "name": "kept", "type": 1, "ext": "jpg", "size": 4}
    number = terry.post("uploadFileInfo", **told, statusForThumb=2).data["id"]
    for part, data in ((b"thumb", b"small"), (b"origin", b"data")):
        body = b'--b\r\nContent-Disposition: form-data; name="x"; filename="%b"\r\n\r\n%b' % (
            part,
            data,
        )
        sent = (body + b"\r\n--b--", "multipart/form-data; boundary=b")
        assert (
            terry.ask("POST", f"/uploadFile.icc?id={number}", sent[0], Content_Type=sent[1]).code
            == 0
        )
    assert terry.ask("DELETE", f"/uploads/{number}", **TUS).status == 403
    assert (photos / "kept.jpg").read_bytes() == b"data"
    assert terry.get("thumbnail", id=number).body == b"small"


def test_who_may_upload(home: Family, terry: Person) -> None:
    target = create(home, terry).fields["location"]
    assert create(home, home.person()).status == 401
    assert create(home, home.person("reader")).status == 403
    assert patch(home.person("anna"), target, 0, b"evil").status == 404
    assert home.person("anna").ask("DELETE", target, **TUS).status == 404
    token = terry.cookie.partition("=")[2]
    bearer = home.person()
    assert bearer.ask("HEAD", target, **TUS, Authorization=f"Bearer {token}").status == 200


@pytest.mark.parametrize("method", [each for each in METHODS if each != "OPTIONS"])
def test_a_session_that_was_ended_is_nobodys(home: Family, terry: Person, method: str) -> None:
    target = create(home, terry).fields["location"]
    revoked = home.person("terry")
    assert revoked.ask("HEAD", target, **TUS).status == 200
    cookie = revoked.cookie
    revoked.post("logout")
    revoked.cookie = cookie
    at = "/uploads" if method == "POST" else target
    for person in (revoked, home.person()):
        assert person.ask(method, at, b"", **TUS).status == 401
    assert home.person("anna").ask(method, target, b"", **TUS).status == 404


def test_what_is_wrong_is_refused(home: Family, terry: Person) -> None:
    assert terry.ask("POST", "/uploads").status == 412
    assert terry.ask("POST", "/uploads", **TUS).status == 400
    assert terry.ask("POST", "/uploads", **TUS, Upload_Length="4").status == 400
    assert create(home, terry, size=10_000_001).status == 413
    assert terry.ask("GET", "/uploads", **TUS).status == 405
    told: Any = {"Upload_Length": "4", "Upload_Metadata": "filename ???"}
    assert terry.ask("POST", "/uploads", **TUS, **told).status == 400


def test_a_client_without_patch_says_so(home: Family, terry: Person, photos: Path) -> None:
    target = create(home, terry, name="override.txt").fields["location"]
    fields: Any = {"Upload_Offset": "0", "Content_Type": "application/offset+octet-stream"}
    reply = terry.ask("POST", target, b"data", **TUS, **fields, X_HTTP_Method_Override="PATCH")
    assert reply.status == 204
    assert (photos / "override.txt").read_bytes() == b"data"


def test_an_upload_goes_on_though_the_broken_line_is_silent(
    home: Family, terry: Person, photos: Path
) -> None:
    target = create(home, terry, size=1_000_000, name="silent.bin").fields["location"]
    with socket.create_connection(("127.0.0.1", terry.port)) as silent:
        head = (
            f"PATCH {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {terry.cookie}\r\n"
            "Tus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Length: 1000000\r\n"
            "Content-Type: application/offset+octet-stream\r\n\r\n"
        )
        silent.sendall(head.encode() + b"x" * 500_000)
        number = int(target.rpartition("/")[2])
        home.nas.wait(lambda: home.received(number) > 0, "some has come")
        first = patch(terry, target, 0, b"x" * 10)  # from where the log knows; more has come
        offset = int(terry.ask("HEAD", target, **TUS).fields["upload-offset"])
        assert (first.status, offset > 0) in ((409, True), (204, True))
        assert b" 409 " in silent.recv(100)
    assert patch(terry, target, offset, b"x" * (1_000_000 - offset)).status == 204
    assert (photos / "silent.bin").read_bytes() == b"x" * 1_000_000


def test_what_came_before_a_cut_stays(home: Family, terry: Person) -> None:
    target = create(home, terry, size=1_000_000, name="cut.bin").fields["location"]
    connection = http.client.HTTPConnection("127.0.0.1", terry.port, timeout=20)
    connection.putrequest("PATCH", target)
    for name, value in (
        *(("Tus-Resumable", "1.0.0"), ("Upload-Offset", "0"), ("Cookie", terry.cookie)),
        *(("Content-Type", "application/offset+octet-stream"), ("Content-Length", "1000000")),
    ):
        connection.putheader(name, value)
    connection.endheaders(b"x" * 500_000)
    connection.close()
    offset = 0

    def has_come() -> bool:
        nonlocal offset
        offset = int(terry.ask("HEAD", target, **TUS).fields["upload-offset"])
        return offset > 0

    home.nas.wait(has_come, "something of it is stored")
    assert patch(terry, target, offset, b"x" * (1_000_000 - offset)).status == 204
