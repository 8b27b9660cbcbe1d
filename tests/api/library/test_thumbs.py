"""Thumbnails and facts as clients see them."""

import io
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from api.library.thumb_cache import ThumbCache
from api.library.thumbs import Looked
from eventlog.library import Facts
from projections.replay import LIBRARY_FOLDS, compare
from tests.api.library.family import Family, Person, Reply
from tests.api.library.test_uploads import announce, form, send
from tests.tools.test_thumbnails import PAIR, live_photo, sound
from tools.thumbnails.pool import Pool


def picture(width: int = 1200, height: int = 900, kind: str = "JPEG", **more: Any) -> bytes:  # noqa: ANN401
    made = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(made, kind, **more)
    return made.getvalue()


def put(home: Family, path: Path, data: bytes) -> int:
    path.write_bytes(data)
    return home.number(path)


def thumbnail(person: Person, number: int, level: int = 0, accept: str = "*/*") -> Reply:
    return person.ask("GET", f"/thumbnail.icc?id={number}&level={level}", Accept=accept)


def size(reply: Reply) -> tuple[int, int]:
    assert reply.status == 200, reply
    return Image.open(io.BytesIO(reply.body)).size


def facts_of(home: Family, number: int) -> Facts:
    def find() -> Facts | None:
        with home.store.reading() as view:
            found = view.library.facts(number)
        return found[1] if found else None

    home.nas.wait(lambda: find() is not None, "the file was looked at")
    facts = find()
    assert facts is not None
    return facts


def test_a_picture_has_a_small_and_a_large_thumbnail(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "a.jpg", picture())
    home.nas.see(photos / "a.jpg")  # its hash, too, by which thumbnails are named
    small = thumbnail(terry, number)
    assert (size(small), small.fields["content-type"]) == ((100, 75), "image/jpeg")
    assert size(thumbnail(terry, number, level=1)) == (800, 600)
    webp = thumbnail(terry, number, accept="image/webp,*/*")
    assert (size(webp), webp.fields["content-type"]) == ((100, 75), "image/webp")
    etag = small.fields["etag"]
    for tag, status in ((etag, 304), ('"other"', 200)):
        target = f"/thumbnail.icc?id={number}"
        assert terry.ask("GET", target, Accept="*/*", If_None_Match=tag).status == status
    head = terry.ask("HEAD", f"/thumbnail.icc?id={number}&level=0")
    assert (head.status, head.body) == (200, b"")
    assert head.fields["content-length"] == str(len(small.body))
    assert "accept" in head.fields["vary"]


def test_a_broken_picture_is_tried_once_until_it_changes(
    home: Family, terry: Person, photos: Path
) -> None:
    number = put(home, photos / "broken.jpg", picture()[:500])
    for _ in range(2):
        reply = thumbnail(terry, number)
        assert (reply.status, reply.code) == (404, -10008)
    assert facts_of(home, number).problem
    (photos / "broken.jpg").write_bytes(picture(30, 20))
    home.nas.see(photos)
    assert size(thumbnail(terry, number)) == (30, 20)


def test_a_worker_that_somebody_killed_leaves_no_picture_without_thumbnail(
    home: Family, terry: Person, photos: Path
) -> None:
    facts_of(home, put(home, photos / "before.jpg", picture(31, 20)))
    pool = getattr(home.face._ended, "__self__", None)
    assert isinstance(pool, Pool)
    for worker in list(pool._working):
        os.kill(worker._process.pid, signal.SIGKILL)
    number = put(home, photos / "after.jpg", picture(32, 20))
    assert size(thumbnail(terry, number)) == (32, 20)
    assert facts_of(home, number).problem == ""


def test_a_picture_that_could_not_be_made_small_this_time_is_tried_again(
    home: Family, terry: Person, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = photos / "slow.jpg"
    facts_of(home, put(home, path, picture(33, 20)))

    def slow(*_: object, **__: object) -> Looked:
        return Looked([], None, "the disk is slow", lasting=False)

    with monkeypatch.context() as changed:
        changed.setattr(home.face._thumbs, "look", slow)
        reply = thumbnail(terry, home.number(path), accept="image/webp")
        assert (reply.status, reply.code) == (503, -10008)
    assert size(thumbnail(terry, home.number(path), accept="image/webp")) == (33, 20)


def test_a_picture_that_has_just_changed_is_not_taken_for_another_with_its_old_content(
    home: Family, terry: Person, photos: Path
) -> None:
    data = picture(70, 50)
    one, two = put(home, photos / "one.png", data), put(home, photos / "two.png", data)
    for number in (one, two):
        facts_of(home, number)
    for turn in range(10):
        (photos / "one.png").write_bytes(picture(50, 70 + turn))
        thumbnail(terry, one, level=1, accept="image/webp")  # the log may not know yet
        assert size(thumbnail(terry, two, level=1, accept="image/webp")) == (70, 50)
        (photos / "one.png").write_bytes(data)
        home.nas.see(photos)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/webp;q=0", "image/jpeg"),
        ("image/webp; Q=0.000, */*", "image/jpeg"),
        ("image/webp;q=nonsense", "image/jpeg"),
        ("image/webpx", "image/jpeg"),
        ("", "image/jpeg"),
        ("text/html,IMAGE/WebP ; q=0.1,*/*;q=0.8", "image/webp"),
    ],
)
def test_a_client_gets_what_it_takes(
    home: Family, terry: Person, photos: Path, accept: str, kind: str
) -> None:
    number = put(home, photos / "taken.jpg", picture(34, 20))
    assert thumbnail(terry, number, accept=accept).fields["content-type"] == kind


def test_what_is_no_picture_has_no_thumbnail(home: Family, terry: Person, photos: Path) -> None:
    assert thumbnail(terry, put(home, photos / "a.txt", b"text")).code == -10005
    assert thumbnail(terry, 10**9).code == -10004
    assert thumbnail(home.person(), 1).code == -10001


def test_a_new_picture_is_looked_at_before_anyone_asks(
    home: Family, terry: Person, photos: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769).update({0x9003: "2017:04:19 03:06:44"})
    number = put(home, photos / "exif.jpg", picture(exif=exif))
    facts = facts_of(home, number)
    assert (facts.orientation, facts.make, facts.width) == (6, "Maker", 1200)
    [found] = [f for f in terry.get("files", pageIndex=0).data["list"] if f["id"] == number]
    assert (found["createTime"], found["orientation"]) == (1492571204, 6)
    assert (found["width"], found["height"]) == (1200, 900)
    assert size(thumbnail(terry, number)) == (75, 100)


def test_both_halves_of_a_live_photo_know_each_other(
    home: Family, terry: Person, photos: Path
) -> None:
    still, film = (home.number(path) for path in live_photo(photos, "heic"))
    for number in (still, film):
        assert facts_of(home, number).pair == PAIR
    assert terry.get("mediaInfo", id=still).data["pairIds"] == str(film)
    assert terry.get("mediaInfo", id=film).data["pairIds"] == str(still)


def test_what_a_picture_says_of_itself_is_told(home: Family, terry: Person, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker", "Model"
    exif.get_ifd(0x8769).update({0x9003: "2017:04:19 03:06:44", 0x9011: "+02:00"})
    exif.get_ifd(0x8825).update({1: "S", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 36.0)})
    number = put(home, photos / "told.jpg", picture(exif=exif))
    facts_of(home, number)
    [file] = [f for f in terry.get("files", pageIndex=0).data["list"] if f["id"] == number]
    assert file["createTime"] == 1492571204 - 2 * 3600
    assert terry.get("mediaInfo", id=number).data == {
        "id": number,
        "type": 1,
        "width": 1200,
        "height": 900,
        "orientation": 0,
        "size": (photos / "told.jpg").stat().st_size,
        "make": "Maker",
        "model": "Model",
        "captureTime": 1492571204 - 2 * 3600,
        "captureOffset": 120,
        "longitude": 13.41,
        "latitude": -52.5,
    }
    assert terry.post("updateFile", id=number, longitude=1.5).code == 0
    assert terry.get("mediaInfo", id=number).data["longitude"] == 1.5


def test_sound_has_a_duration_and_no_thumbnail(home: Family, terry: Person, photos: Path) -> None:
    sound(photos / "song.flac", "flac")
    number = home.number(photos / "song.flac")
    facts_of(home, number)
    found = terry.get("files", pageIndex=0, types=8, sort=-4).data["list"]
    assert [(each["id"], each["duration"]) for each in found] == [(number, 2.0)]
    assert thumbnail(terry, number).code == -10005


def test_a_client_makes_its_own_thumbnails(home: Family, terry: Person, photos: Path) -> None:
    info = announce(home, terry, 4, name="own", statusForThumb=2)
    small = picture(60, 60, "PNG")
    file = send(terry, info["id"], {"origin": b"data"}).data["fileInfo"]
    awaited = thumbnail(terry, file["id"])
    assert (awaited.status, awaited.code) == (404, -10009)
    assert send(terry, info["id"], {"thumb": small}).code == 0
    reply = thumbnail(terry, file["id"])
    assert (reply.body, reply.fields["content-type"]) == (small, "image/png")
    assert (photos / "own.mp4").read_bytes() == b"data"


def test_a_clients_thumbnail_goes_to_the_trash_and_comes_back_with_its_file(
    home: Family, terry: Person, photos: Path
) -> None:
    pid = terry.post("createCatalog", parentId=home.root("photos"), name="kept").data["id"]
    info = announce(home, terry, 4, cid=pid, name="thrown", statusForThumb=2)
    small = picture(60, 60, "PNG")
    body, kind = form(origin=b"data", thumb=small)
    target = f"/uploadFile.icc?id={info['id']}"
    assert terry.ask("POST", target, body, Content_Type=kind).code == 0
    for name, number in (("deleteFiles", home.number(photos / "kept" / "thrown.mp4")), ("", pid)):
        assert terry.post(name or "deleteCatalog", ids=str(number)).code == 0
        home.look_after()
        [thrown] = [each["id"] for each in terry.get("trash").data]
        assert terry.post("restoreTrash", ids=str(thrown)).code == 0
        home.nas.see(photos)
        home.look_after()
        file = home.number(photos / "kept" / "thrown.mp4")
        assert thumbnail(terry, file).body == small
        assert terry.ask("GET", f"/downFile.icc?id={info['id']}").body == b"data"
    own = photos / ".nasfeed" / "uploads"
    assert len(list(own.glob("*.thumb"))) == 2  # and that of the test before
    (photos / "kept" / "thrown.mp4").unlink()
    home.nas.see(photos / "kept")
    home.look_after()  # what was said of the file ends, then what lies on the disk goes
    home.look_after()
    assert len(list(own.glob("*.thumb"))) == 1


def test_a_client_sends_both_at_once(home: Family, terry: Person) -> None:
    info = announce(home, terry, 4, name="both", statusForThumb=2, statusForScreen=2)
    small, large = picture(60, 60), picture(600, 600)
    body, kind = form(origin=b"data", thumb=small, screen=large)
    target = f"/uploadFile.icc?id={info['id']}"
    file = terry.ask("POST", target, body, Content_Type=kind).data["fileInfo"]
    assert thumbnail(terry, file["id"], level=0).body == small
    assert thumbnail(terry, file["id"], level=1).body == large


def test_a_replay_gives_the_same_library(home: Family, photos: Path) -> None:
    facts_of(home, put(home, photos / "replayed.jpg", picture(40, 40)))
    home.nas.see(photos)
    with home.nas.system.reader.connection() as connection:
        compared = compare(connection)
        assert compared.differences == []
        assert compared.rows > 0
        assert "media" in [table for fold in LIBRARY_FOLDS for table in fold.tables]


def test_the_cache_drops_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = ThumbCache(tmp_path / "thumbs", 1_000)
    for number in range(10):
        cache.put(f"{number:02x}.0.jpg", b"x" * 200)
        os.utime(tmp_path / "thumbs" / f"{number:02x}" / ".0.jpg", (number, number))
    assert cache.get("00.0.jpg")  # used just now
    assert cache.trim() == 6
    assert cache.get("00.0.jpg")
    assert cache.get("01.0.jpg") is None
    assert cache.get("09.0.jpg")
    assert cache.trim() == 0
