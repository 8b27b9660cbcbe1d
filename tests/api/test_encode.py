"""What goes on the wire, byte for byte."""

import base64
import datetime as dt
import json
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import encode
from eventlog import codec
from eventlog.events import Created, Described, Event, Moved, Reason, Removed
from tests.api.support import LOG_ID, MemoryLog, node_id, state

IDS = MemoryLog().ids
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def encoded(*events: Event) -> bytes:
    rows = [(number, number, codec.encode(event)) for number, event in enumerate(events, 1)]
    return encode.page_json(len(rows), rows, LOG_ID, IDS, has_more=False)


def node(event: Event) -> dict[str, object]:
    found: dict[str, object] = json.loads(encoded(event))["changes"][0]["node"]
    return found


def test_a_file_has_the_seed_keys_in_the_seed_order_then_ours() -> None:
    event = Described(
        "",
        state(
            b"image.jpg",
            parent=5,
            size=204800,
            mime="image/jpeg",
            hash=bytes.fromhex("d41d8cd98f00b204e9800998ecf8427e"),
            width=1920,
            height=1080,
        ),
    )
    assert encoded(event) == (
        b'{"cursor":1,"changes":[{"removed":false,"node":{'
        b'"id":"01234567-89ab-8def-8123-000000000001",'
        b'"parent_id":"01234567-89ab-8def-8123-000000000005",'
        b'"name":"image.jpg","is_directory":false,'
        b'"ctime":"2026-03-04T12:00:00+00:00","mtime":"2026-03-04T12:00:00+00:00",'
        b'"mime_type":"image/jpeg","hash":"d41d8cd98f00b204e9800998ecf8427e","size":204800,'
        b'"is_image":true,"is_video":false,"width":1920,"height":1080,"ms_duration":0,'
        b'"kind":"file"}}],"has_more":false,"log_id":"0123456789abcdef0123456789abcdef"}'
    )


def test_a_removal_has_the_seed_keys_then_ours() -> None:
    event = Removed("", Reason.DELETED, 5, b"gone", stat.S_IFDIR | 0o755)
    assert encoded(event) == (
        b'{"cursor":1,"changes":[{"removed":true,'
        b'"node_id":"01234567-89ab-8def-8123-000000000001","reason":"deleted",'
        b'"parent_id":"01234567-89ab-8def-8123-000000000005","name":"gone",'
        b'"is_directory":true}],"has_more":false,"log_id":"0123456789abcdef0123456789abcdef"}'
    )


def test_a_root_has_the_super_root_as_its_parent() -> None:
    root = node(Created("", state(b"media", mode=stat.S_IFDIR, target=b"/mnt/media")))
    assert root["parent_id"] == "00000000-0000-0000-0000-000000000000"
    assert "target" not in root


def test_a_moved_node_is_where_it_is_now() -> None:
    moved = node(Moved("", state(b"new", parent=9), from_parent=8, from_name=b"old"))
    assert (moved["name"], moved["parent_id"]) == ("new", node_id(9))


def test_a_video_has_a_duration() -> None:
    video = node(Described("", state(mime="video/mp4", duration_ms=1500)))
    assert (video["is_video"], video["is_image"], video["ms_duration"]) == (True, False, 1500)


@pytest.mark.parametrize(
    ("bits", "kind", "mime"),
    [
        (stat.S_IFREG, "file", ""),
        (stat.S_IFDIR, "directory", ""),
        (stat.S_IFLNK, "symlink", "inode/symlink"),
        (stat.S_IFIFO, "fifo", "inode/fifo"),
        (stat.S_IFSOCK, "socket", "inode/socket"),
        (stat.S_IFCHR, "char_device", "inode/chardevice"),
        (stat.S_IFBLK, "block_device", "inode/blockdevice"),
    ],
)
def test_every_kind_of_file_is_named(bits: int, kind: str, mime: str) -> None:
    found = node(Created("", state(mode=bits | 0o644)))
    assert (found["kind"], found["mime_type"]) == (kind, mime)
    assert found["is_directory"] is (kind == "directory")


def test_a_symlink_tells_its_target() -> None:
    link = node(Created("", state(mode=stat.S_IFLNK, target=b"../\xff")))
    assert link["target"] == "../\N{REPLACEMENT CHARACTER}"
    assert base64.b64decode(str(link["target_raw"])) == b"../\xff"


@pytest.mark.parametrize("name", [b"a\nb", b"\xe2\x80\xae.txt", "grün".encode(), b'\x01"\\'])
def test_a_name_in_utf8_is_shown_whole(name: bytes) -> None:
    found = node(Created("", state(name)))
    assert str(found["name"]).encode() == name
    assert "name_raw" not in found


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"a\xc3"])
def test_a_name_that_is_not_utf8_comes_raw_as_well(name: bytes) -> None:
    created = node(Created("", state(name)))
    assert created["name"] == name.decode("utf-8", "replace")
    assert base64.b64decode(str(created["name_raw"])) == name
    removed = json.loads(encoded(Removed("", Reason.DELETED, 0, name, stat.S_IFREG)))
    assert base64.b64decode(removed["changes"][0]["name_raw"]) == name


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_800 * 10**9 - 1))
def test_times_are_what_isoformat_gives(ns: int) -> None:
    moment = EPOCH + dt.timedelta(microseconds=ns // 1000)
    assert encode.iso_time(ns) == moment.isoformat()


@given(st.integers())
def test_any_time_can_be_read_back(ns: int) -> None:
    moment = dt.datetime.fromisoformat(encode.iso_time(ns))
    assert 1 <= moment.year <= 9999


def test_times_outside_the_calendar_are_clamped() -> None:
    assert encode.iso_time(2**80) == "9999-12-31T23:59:59." + encode.iso_time(2**80)[20:]
    assert encode.iso_time(-(2**80)).startswith("0001-01-01T00:00:00")


def test_ctime_and_mtime_are_told_apart() -> None:
    found = node(Created("", state(mtime_ns=1_000, ctime_ns=999_999_999)))
    assert found["mtime"] == "1970-01-01T00:00:00.000001+00:00"
    assert found["ctime"] == "1970-01-01T00:00:00.999999+00:00"


def test_what_is_remembered_between_pages_is_bounded() -> None:
    for second in range(encode.REMEMBERED_MAX + 10):
        encode.iso_time(second * 10**9)
    assert len(encode._seconds) <= encode.REMEMBERED_MAX
    for number in range(encode.REMEMBERED_MAX + 10):
        assert encode._media[f"x/{number}"] == (False, False)
    assert len(encode._media) <= encode.REMEMBERED_MAX
