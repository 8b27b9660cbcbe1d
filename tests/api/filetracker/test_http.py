"""Ranges, conditions, streams: what anyone who knows HTTP expects."""

import os
import re
import resource
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from api.files.ranges import RANGES_MAX, Range, parse_ranges
from api.limits import Limits
from tests.api.filetracker.tracking import NOON, ROOT, Reply, Tracked, modified, tracked
from tests.serving import wait_until
from tests.watcher.nas import write

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    with tracked(tmp_path_factory.mktemp("store")) as store:
        store.put("a", DATA)
        yield store


def span(store: Tracked, text: str) -> Reply:
    return store.get("a", Range=text)


RANGES = {
    "bytes=0-0": (0, 1),
    "bytes=0-9": (0, 10),
    "bytes=100-": (100, 10240),
    "bytes=-500": (9740, 10240),
    "bytes=-99999": (0, 10240),
    "bytes=10239-99999": (10239, 10240),
    "BYTES = 5 - 6": None,
    "bytes= 5-6 ": (5, 7),
}


@pytest.mark.parametrize("text", [text for text, where in RANGES.items() if where])
def test_one_range(store: Tracked, text: str) -> None:
    start, stop = RANGES[text] or (0, 0)
    reply = span(store, text)
    assert (reply.status, reply.body) == (206, DATA[start:stop])
    assert reply.fields["content-range"] == f"bytes {start}-{stop - 1}/10240"
    assert reply.fields["content-length"] == str(stop - start)
    assert reply.fields["logical-size"] == "10240"


@pytest.mark.parametrize("text", ["bytes=0-1,10-19,-5", "bytes=500-,0-1"])
def test_several_ranges(store: Tracked, text: str) -> None:
    reply = span(store, text)
    boundary = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", reply.fields["content-type"])
    assert reply.status == 206
    assert boundary
    parts = reply.body.split(b"\r\n--" + boundary[1].encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    for part in parts[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        found = re.search(rb"Content-Range: bytes (\d+)-(\d+)/10240$", head)
        assert found
        assert body == DATA[int(found[1]) : int(found[2]) + 1]
    assert len(parts) - 2 == text.count(",") + 1


@pytest.mark.parametrize("text", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_behind_the_end_is_416(store: Tracked, text: str) -> None:
    reply = span(store, text)
    assert (reply.status, reply.fields["content-range"]) == (416, "bytes */10240")


@pytest.mark.parametrize("text", ["bytes=5-2", "bytes=", "bytes=x-y", "lines=1-2", "bytes", "5-6"])
def test_a_range_that_is_none_is_ignored(store: Tracked, text: str) -> None:
    reply = span(store, text)
    assert (reply.status, reply.body) == (200, DATA)


def test_asking_for_the_same_bytes_again_and_again_is_ignored(store: Tracked) -> None:
    assert span(store, "bytes=" + ",".join(["0-"] * 20)).status == 200
    assert span(store, "bytes=" + ",".join(["0-0"] * (RANGES_MAX + 1))).status == 200


@pytest.mark.parametrize("size", [0, 1, 10])
def test_ranges_never_leave_the_file(size: int) -> None:
    for text in ("0-", "-1", "0-99", "-99", "9-9", f"{size}-", "99999999999999999999-"):
        for each in parse_ranges(f"bytes={text}", size) or []:
            assert each == Range(max(0, each.start), min(size, each.stop))
            assert each.start < each.stop


def test_positions_of_any_length_are_numbers() -> None:
    huge = "9" * 40
    assert parse_ranges(f"bytes=2-{huge}", 10) == [Range(2, 10)]
    assert parse_ranges(f"bytes=-{huge}", 10) == [Range(0, 10)]
    assert parse_ranges(f"bytes={huge}-", 10) == []


def test_a_client_that_has_the_file_gets_304(store: Tracked) -> None:
    got = store.get("a")
    tag, date = got.fields["etag"], got.fields["last-modified"]
    for fields in (
        {"If_None_Match": tag},
        {"If_None_Match": f'"x", W/{tag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": date},
        {"If_None_Match": tag, "If_Modified_Since": formatdate(0)},
    ):
        reply = store.get("a", **fields)
        assert (reply.status, reply.body, reply.fields["etag"]) == (304, b"", tag)


def test_a_client_that_has_not_gets_the_file(store: Tracked) -> None:
    for fields in (
        {"If_None_Match": '"x"'},
        {"If_Modified_Since": formatdate(NOON - 1)},
        {"If_Modified_Since": "no date"},
        {"If_None_Match": '"x"', "If_Modified_Since": formatdate(NOON)},
    ):
        assert store.get("a", **fields).status == 200


def test_a_condition_that_does_not_hold_is_412(store: Tracked) -> None:
    tag = store.get("a").fields["etag"]
    assert store.get("a", If_Match='"x"').status == 412
    assert store.get("a", If_Match=f"W/{tag}").status == 412
    assert store.get("a", If_Unmodified_Since=formatdate(NOON - 1)).status == 412
    assert store.get("a", If_Match=tag).status == 200
    assert store.get("a", If_Unmodified_Since=formatdate(NOON)).status == 200


def test_a_range_of_another_version_is_not_sent(store: Tracked) -> None:
    tag = store.get("a").fields["etag"]
    for value, status in ((tag, 206), ('"x"', 200), (formatdate(NOON), 206), (formatdate(1), 200)):
        assert store.get("a", Range="bytes=0-1", If_Range=value).status == status


def test_files_can_be_made_only_if_they_are_not_there(store: Tracked) -> None:
    assert store.put("once", If_None_Match="*").status == 200
    assert store.put("once", b"again", NOON + 1, If_None_Match="*").status == 412
    tag = store.get("once").fields["etag"]
    assert store.put("once", b"mine", NOON + 1, If_Match=tag).status == 200
    assert store.put("once", b"lost", NOON + 2, If_Match=tag).status == 412
    assert store.delete("once", NOON + 2, If_Match=tag).status == 412
    assert store.get("once").body == b"mine"


def test_the_tag_changes_with_the_bytes_whoever_writes_them(store: Tracked) -> None:
    path = write(store.path / "b", b"one")
    tags = {store.get("b").fields["etag"]}
    path.write_bytes(b"two")
    tags.add(store.get("b").fields["etag"])
    store.put("b", b"six", int(path.stat().st_mtime))
    tags.add(store.get("b").fields["etag"])
    assert len(tags) == 3


def test_part_of_a_put_is_refused_not_taken_for_the_whole(store: Tracked) -> None:
    assert store.put("part", Content_Range="bytes 0-3/10").status == 400


def test_a_client_that_waits_for_leave_hears_the_refusal_first(store: Tracked) -> None:
    line = f"PUT /files/../x?{modified(NOON)} HTTP/1.1\r\n".encode()
    with store.server.connect() as connection:
        connection.sendall(
            line + b"Host: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_a_refused_upload_is_taken_to_its_end_so_that_the_reason_is_heard(store: Tracked) -> None:
    assert store.put("..", bytes(2**23)).status == 400


def resident() -> int:
    """Return how much memory this process ever had, KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    size = 300 * 2**20
    piece = os.urandom(2**20)
    with tracked(tmp_path) as store:
        store.put("warm", iter([piece] * 8))
        store.get("warm", "HEAD")
        before = resident()
        assert store.put("large", iter([piece] * 300)).status == 200
        with store.server.connect() as connection:
            connection.sendall(
                b"GET /files/large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            received = 0
            while part := connection.recv(2**18):
                received += len(part)
        assert received > size
        assert resident() - before < 32 * 2**10


def test_a_client_that_leaves_ends_the_sending(tmp_path: Path) -> None:
    limits = Limits(receive_seconds=1.0)
    with tracked(tmp_path, limits) as store:
        with (store.path / "large").open("wb") as file:
            file.truncate(2**34)
        with store.server.connect() as connection:
            connection.sendall(b"GET /files/large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.recv(1000)
        held = str(store.path / "large")
        wait_until(lambda: held not in open_files(), "the file is closed")


def open_files() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except FileNotFoundError:
            continue
    return found


def test_the_list_streams_and_does_not_hold_all_names(tmp_path: Path) -> None:
    count = 20_000
    directory = tmp_path / ROOT / "many"
    directory.mkdir(parents=True)
    for number in range(count):
        (directory / f"{number:0100d}").touch()
    with tracked(tmp_path) as store:
        before = resident()
        lines = store.list("/many").body.count(b"\n")
        assert lines == count
        assert resident() - before < 24 * 2**10  # the answer is held twice here, by the client


def test_the_quick_answer_to_a_small_file_is_the_one_that_others_get(tmp_path: Path) -> None:
    with tracked(tmp_path, prefix="/store") as store:
        version = modified(NOON)
        assert store.ask("PUT", f"/store/files/a?{version}", b"data").status == 200
        quick, slow = store.ask("GET", "/store/files/a"), store.ask("GET", "/store/files/a?x")
        assert quick.status == slow.status == 200
        assert quick.body == slow.body == b"data"
        assert {**quick.fields, "date": ""} == {**slow.fields, "date": ""}
        assert store.ask("GET", "/store/files/none").status == 404


def test_the_quick_answer_is_for_those_only_who_may_read(tmp_path: Path) -> None:
    with tracked(tmp_path, read_tokens={"bob": "look"}) as store:
        write(store.path / "a")
        assert store.get("a").status == 401
        assert store.get("a", Authorization="Bearer look").status == 200
        assert store.ask("GET", "/files/a", Host="evil.example").status == 421
