"""A family's day: a client written from the seed's text, a real server, real media; then a replay.

The line breaks three times in the middle of each large upload.
"""

import hashlib
import http.client
import io
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pillow_heif
import pytest
from PIL import Image
from tusclient.client import TusClient

from tests.api.library.cutting import CuttingProxy
from tests.api.library.family import PASSWORD, Person, hashed
from tests.api.library.test_uploads import form, uploading
from tests.serving import Server, running, wait_until
from tests.tools.test_thumbnails import live_photo, picture, sound, video
from tools import control
from tools.cli import main

pillow_heif.register_heif_opener()

FORMATS = {
    "jpg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WEBP",
    "avif": "AVIF",
    "heic": "HEIF",
    "bmp": "BMP",
    "tiff": "TIFF",
}
VIDEOS = ("mp4", "mov", "mkv", "avi")

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
            frame = av.VideoFrame.from_image(picture(320, 240))  # type: ignore[no-untyped-call]  # it has none
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    room = SIZE - len(made.getvalue())
    filler = random.Random(7).randbytes(room - 8)  # noqa: S311 - it means nothing
    return made.getvalue() + room.to_bytes(4, "big") + b"free" + filler


class Home:
    """A server of a family's photos, and the files before it is started."""

    def __init__(self, base: Path) -> None:
        self.photos, self.music = base / "photos", base / "music"
        self.config, self.database = base / "server.yaml", base / "state" / "log.db"
        year = self.photos / "2026"
        year.mkdir(parents=True)
        self.music.mkdir()
        for ending, kind in FORMATS.items():
            picture().save(year / f"p.{ending}", kind)
        for ending in VIDEOS:
            video(year / f"v.{ending}")
        live_photo(self.photos, "heic")
        sound(self.music / "song.flac", "flac")
        self.config.write_text(
            f"host: 127.0.0.1\nport: 0\ndatabase_url: {self.database}\n"
            f"watches:\n  photos: {self.photos}\n  music: {self.music}\n"
            "library:\n  enabled: true\n"
        )

    def add(self, name: str, **rights: bool) -> None:
        wanted = {"action": "add", "name": name, "password": hashed()}
        control.call(str(self.database), "library-user", {**wanted, "rights": list(rights.items())})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    with running("--config", str(home.config)) as server:
        wait_until(lambda: bool(server.url), "it listens")
        server.wait_ready()
        home.add("Terry", photos=True, music=False)
        yield server


def test_a_familys_day(home: Home, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    day = Day(home, urlsplit(server.url).port or 0)
    day.log_in()
    day.browse()
    day.page_and_sort()
    day.look_at_thumbnails()
    day.play()
    day.share()
    data = film()
    day.upload_the_old_way(data)
    day.upload_by_tus(data)
    day.rename_move_and_remember()
    day.delete_and_restore()
    day.copy_onto_the_disk()
    day.log_out()
    server.stop()
    assert main(["check", "--config", str(home.config)]) == 0, capsys.readouterr()
    assert main(["replay", "--check", "--config", str(home.config)]) == 0, capsys.readouterr()


class Day:
    """What Terry does, step by step."""

    def __init__(self, home: Home, port: int) -> None:
        self.home = home
        self.terry, self.stranger = Person(port), Person(port)
        self.roots: dict[str, int] = {}

    def files(self, **parameters: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - anything
        found = self.terry.get("files", pageIndex=0, **parameters).data["list"]
        return {each["name"]: each for each in found}

    def log_in(self) -> None:
        assert self.terry.log_in("Terry", "wrong").code == -10000
        assert self.terry.get("catalogs", pids=-1).code == -10001
        told = self.terry.log_in("Terry", PASSWORD).data
        assert (told["name"], told["id"] > 0) == ("Terry", True)

    def browse(self) -> None:
        roots = self.terry.get("catalogs", pids=-1).data
        self.roots = {each["name"]: each["id"] for each in roots}
        counts = {each["name"]: (each["subCatalogCount"], each["fileCount"]) for each in roots}
        assert counts == {"photos": (1, 2), "music": (0, 1)}
        [year] = self.terry.get("catalogs", pids=self.roots["photos"]).data
        assert (year["name"], year["fileCount"]) == ("2026", len(FORMATS) + len(VIDEOS))
        assert len(self.files(pids=year["id"])) == year["fileCount"]

    def page_and_sort(self) -> None:
        wait_until(self.has_facts, "all files were looked at")
        for sort in range(-5, 6):
            pages: list[int] = []
            for index in itertools.count():
                more = {"maxPerPage": 10, "sort": sort}
                found = self.terry.get("files", pageIndex=index, **more).data
                pages += [each["id"] for each in found["list"]]
                if index + 1 == found["page"]["pageCount"]:
                    break
            assert len(set(pages)) == len(pages) == len(FORMATS) + len(VIDEOS) + 3
        assert list(self.files(types=8)) == ["song.flac"]
        assert set(self.files(types="2,4")) == {"p.gif", "live.mov", *(f"v.{e}" for e in VIDEOS)}
        sizes = [each["size"] for each in self.files(sort=-3).values()]
        assert sizes == sorted(sizes, reverse=True)

    def has_facts(self) -> bool:
        files = self.files()
        sized = all(f.get("width") for f in files.values() if f["type"] != 8)
        return sized and files["song.flac"].get("duration") == 2.0

    def look_at_thumbnails(self) -> None:
        files = self.files()
        names = [*(f"p.{each}" for each in FORMATS), *(f"v.{each}" for each in VIDEOS)]
        for name, level in itertools.product(names, (0, 1)):
            reply = self.terry.get("thumbnail", id=files[name]["id"], level=level)
            shown = Image.open(io.BytesIO(reply.body))
            assert (reply.status, max(shown.size) <= (100, 800)[level]) == (200, True), name
            red, _, blue = shown.convert("RGB").getpixel((1, shown.height // 2))  # type: ignore[misc]  # of three bands
            assert red > 150 > blue, name
        still, half = files["live.heic"]["id"], files["live.mov"]["id"]
        wait_until(lambda: self.pair_of(still) == str(half), "both halves know each other")
        assert self.pair_of(half) == str(still)

    def pair_of(self, number: int) -> str | None:
        found: str | None = self.terry.get("mediaInfo", id=number).data.get("pairIds")
        return found

    def play(self) -> None:
        number = self.files()["v.mp4"]["id"]
        data, target = (
            (self.home.photos / "2026" / "v.mp4").read_bytes(),
            f"downFile.icc.mp4?id={number}",
        )
        probe = self.terry.ask("GET", f"/{target}", Range="bytes=0-1")
        assert (probe.status, probe.body) == (206, data[:2])
        assert probe.fields["content-range"] == f"bytes 0-1/{len(data)}"
        assert probe.fields["content-type"] == "video/mp4"
        pieces = (
            self.terry.ask("GET", f"/{target}", Range=f"bytes={start}-{start + 999}").body
            for start in range(0, len(data), 1000)
        )
        assert b"".join(pieces) == data

    def share(self) -> None:
        number = self.files()["v.mp4"]["id"]
        assert self.stranger.get("downFile", id=number).status == 403
        key = self.terry.get("shareFileUrl", id=number).data
        target = f"/shareFile.icc.mp4?shareKey={key}"
        assert (
            self.stranger.ask("GET", target).body
            == (self.home.photos / "2026" / "v.mp4").read_bytes()
        )
        assert self.terry.post("revokeShare", shareKey=key).code == 0
        assert self.stranger.ask("GET", target).status == 404

    def upload_the_old_way(self, data: bytes) -> None:
        told = {"cid": self.roots["photos"], "type": 4, "ext": "mp4", "size": SIZE}
        number = self.terry.post("uploadFileInfo", name="old way", **told).data["id"]
        begins: list[int] = []
        answer: dict[str, Any] = {}
        with CuttingProxy(self.terry.port, CUTS) as proxy:

            def is_sent() -> bool:
                begin = uploading(self.terry, number)["uploadingOriginSize"]
                if begins and begin <= begins[-1]:
                    return False  # the server has not noticed yet that the line is broken
                begins.append(begin)
                answer.update(self.go_on(proxy.port, number, data, begin))
                return bool(answer)

            wait_until(is_sent, "the film is there")
            assert proxy.left == 0
        assert (len(begins), begins[0]) == (4, 0)
        assert answer["check"] == {"origin": hashlib.sha1(data, usedforsecurity=False).hexdigest()}
        self.check_film(data, "old way", answer["fileInfo"]["id"])

    def go_on(self, port: int, number: int, data: bytes, begin: int) -> dict[str, Any]:
        """Send what is missing; return the answer, or nothing when the line broke."""
        body, kind = form(origin=data[begin:])
        target = f"/uploadFile.icc?id={number}&obp={begin}&cm=sha1"
        here = Person(port)
        here.cookie = self.terry.cookie
        try:
            found: dict[str, Any] = here.ask("POST", target, body, Content_Type=kind).data
        except (OSError, http.client.HTTPException):
            return {}
        return found

    def upload_by_tus(self, data: bytes) -> None:
        with CuttingProxy(self.terry.port, CUTS) as proxy:
            address = f"http://127.0.0.1:{proxy.port}/uploads"
            client = TusClient(address, headers={"Cookie": self.terry.cookie})
            told = {"filename": "by tus.mp4", "catalogId": str(self.roots["photos"])}
            patient: dict[str, Any] = {"retries": 1000, "retry_delay": 0.05}
            uploader = client.uploader(file_stream=io.BytesIO(data), metadata=told, **patient)
            uploader.upload()
            assert proxy.left == 0
        self.check_film(data, "by tus", self.files()["by tus.mp4"]["id"])

    def check_film(self, data: bytes, name: str, number: int) -> None:
        path = self.home.photos / f"{name}.mp4"
        assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
        target = f"/downFile.icc.mp4?id={number}"
        part = self.terry.ask("GET", target, Range="bytes=25000000-25999999")
        assert (part.status, part.body) == (206, data[25_000_000:26_000_000])
        assert self.terry.get("thumbnail", id=number).status == 200
        assert self.terry.get("uploadingInfo").data == []
        assert number in {each["id"] for each in self.files(onlySelfUpload=1).values()}

    def rename_move_and_remember(self) -> None:
        made = self.terry.post("createCatalog", parentId=self.roots["photos"], name="Lake").data
        number = self.files()["by tus.mp4"]["id"]
        told = {"name": "Swimming", "memo": "cold", "catalogId": made["id"], "helpInt": 5}
        after = self.terry.post("updateFile", id=number, **told).data
        assert {name: after[name] for name in told} == told
        assert list(self.files(pids=made["id"])) == ["Swimming"]
        assert (self.home.photos / "by tus.mp4").exists()  # only the library shows it elsewhere
        assert self.terry.get("helpInfo", type=2, id=number).data["helpInt"] == 5
        again = self.terry.post("updateCatalog", id=made["id"], name="At the lake", memo="m").data
        assert (again["name"], again["memo"], again["fileCount"]) == ("At the lake", "m", 1)

    def delete_and_restore(self) -> None:
        number = self.files()["Swimming"]["id"]
        [year] = [
            c
            for c in self.terry.get("catalogs", pids=self.roots["photos"]).data
            if c["name"] == "2026"
        ]
        assert self.terry.post("deleteFiles", ids=str(number)).data == "OK"
        assert self.terry.post("deleteCatalog", ids=str(year["id"])).data == "OK"
        assert not (self.home.photos / "2026").exists()
        assert "Swimming" not in self.files()
        trash = {each["path"]: str(each["id"]) for each in self.terry.get("trash").data}
        assert set(trash) == {"by tus.mp4", "2026"}
        assert self.terry.post("restoreTrash", ids=",".join(trash.values())).data == "OK"
        assert self.files()["Swimming"]["memo"] == "cold"
        assert (self.home.photos / "2026" / "v.mp4").exists()
        wait_until(lambda: "p.jpg" in self.files(), "what is in it is there again")

    def copy_onto_the_disk(self) -> None:
        picture().save(self.home.photos / "copied.jpg")
        wait_until(lambda: "copied.jpg" in self.files(), "it appears by itself")

    def log_out(self) -> None:
        assert self.terry.post("logout").data == ""
        assert self.terry.get("files", pageIndex=0).code == -10001
