"""A film of 50 MB is uploaded over a line that breaks three times, by the old way and by tus."""

import hashlib
import http.client
import io
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import av
import pytest
from PIL import Image
from tusclient.client import TusClient

from eventlog.library import Right
from projections.replay import compare
from tests.api.library.cutting import CuttingProxy
from tests.api.library.family import Family, Person, family
from tests.api.library.test_uploads import form, uploading
from tests.serving import wait_until

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 50_000_000

CUTS = (14_000_000, 9_000_000, 17_000_000)
"""Bytes after which each connection breaks; 10 MB are left for the fourth."""


def film() -> bytes:
    """Return a video of 50 MB: a real one, and a box that says nothing (ISO 14496-12, 8.1.2)."""
    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(20):
            picture = Image.new("RGB", (320, 240), "red")
            frame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]  # it has none
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    room = SIZE - len(made.getvalue())
    filler = random.Random(7).randbytes(room - 8)  # noqa: S311 - it means nothing
    return made.getvalue() + room.to_bytes(4, "big") + b"free" + filler


@pytest.fixture(scope="module")
def data() -> bytes:
    return film()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home")) as home:
        home.add("Terry", Right("photos", write=True))
        yield home
        home.nas.see()
        with home.nas.system.reader.connection() as connection:
            assert compare(connection).differences == []


@pytest.fixture
def terry(home: Family) -> Person:
    return home.person("terry")


def test_a_film_is_uploaded_the_old_way_over_a_line_that_breaks_three_times(
    home: Family, terry: Person, data: bytes
) -> None:
    told = {"cid": home.root("photos"), "type": 4, "ext": "mp4", "size": SIZE}
    number = terry.post("uploadFileInfo", name="old way", **told).data["id"]
    digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    with CuttingProxy(terry.port, CUTS) as proxy:
        begins: list[int] = []
        answer: dict[str, Any] = {}

        def is_sent() -> bool:
            begin = uploading(terry, number)["uploadingOriginSize"]
            if begins and begin <= begins[-1]:
                return False  # the server has not noticed yet that the line is broken
            begins.append(begin)
            answer.update(go_on(terry, proxy.port, number, data, begin))
            return bool(answer)

        wait_until(is_sent, "the film is there")
        assert proxy.left == 0
    assert len(begins) == 4
    assert begins[0] == 0
    assert answer["check"] == {"origin": digest}
    check_film(home, terry, data, "old way", answer["fileInfo"]["id"])


def go_on(person: Person, port: int, number: int, data: bytes, begin: int) -> dict[str, Any]:
    """Send what is missing; return the answer, or nothing when the line broke."""
    body, kind = form(origin=data[begin:])
    target = f"/uploadFile.icc?id={number}&obp={begin}&cm=sha1"
    here = Person(port)
    here.cookie = person.cookie
    try:
        found: dict[str, Any] = here.ask("POST", target, body, Content_Type=kind).data
    except (OSError, http.client.HTTPException):
        return {}
    return found


def test_a_film_is_uploaded_by_tus_over_a_line_that_breaks_three_times(
    home: Family, terry: Person, data: bytes
) -> None:
    with CuttingProxy(terry.port, CUTS) as proxy:
        address = f"http://127.0.0.1:{proxy.port}/uploads"
        client = TusClient(address, headers={"Cookie": terry.cookie})
        told = {"filename": "by tus.mp4", "catalogId": str(home.root("photos"))}
        patient: dict[str, Any] = {"retries": 1000, "retry_delay": 0.05}
        uploader = client.uploader(file_stream=io.BytesIO(data), metadata=told, **patient)
        uploader.upload()
        assert proxy.left == 0
    [file] = [f for f in terry.get("files", pageIndex=0).data["list"] if f["name"] == "by tus.mp4"]
    check_film(home, terry, data, "by tus", file["id"])


def check_film(home: Family, person: Person, data: bytes, name: str, number: int) -> None:
    path: Path = home.nas.roots["photos"] / f"{name}.mp4"
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    assert number == home.number(path)
    target = f"/downFile.icc.mp4?id={number}"
    part = person.ask("GET", target, Range="bytes=25000000-25999999")
    assert (part.status, part.body) == (206, data[25_000_000:26_000_000])
    assert person.get("thumbnail", id=number).status == 200
    assert person.get("uploadingInfo").data == []
    assert home.author_of(path) == "library:Terry"
