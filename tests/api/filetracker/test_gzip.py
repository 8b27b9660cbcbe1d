"""Clients that take gzip get it, from bytes that were compressed once."""

import gzip
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.files.codings import takes_gzip
from api.filetracker.packer import NOW_BYTES, SMALL_BYTES
from tests.api.filetracker.tracking import NOON, Reply, Tracked, tracked
from tests.serving import wait_until
from tests.watcher.nas import write

DATA = b"All work and no play. " * 5_000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Tracked]:
    with tracked(tmp_path) as store:
        yield store


def packed(store: Tracked) -> list[Path]:
    return sorted((store.path / ".nasfeed/gzip").glob("*/*"))


def get(store: Tracked, path: str, method: str = "GET", **fields: str) -> Reply:
    return store.get(path, method, **{"Accept_Encoding": "gzip, deflate", **fields})


def is_packed(reply: Reply) -> bool:
    return reply.fields.get("content-encoding") == "gzip"


@pytest.mark.parametrize(
    ("text", "takes"),
    {
        "": False,
        "gzip": True,
        "GZIP": True,
        "x-gzip": True,
        "gzip, deflate, br": True,
        "deflate": False,
        "identity": False,
        "gzip;q=0": False,
        "gzip; q=0.000": False,
        "gzip;q=0.5": True,
        "gzip;q=0.5, identity": False,
        "gzip;q=1.0, identity; q=0.5, *;q=0": True,
        "*": False,
        "gzipped": False,
    }.items(),
)
def test_who_takes_gzip(text: str, *, takes: bool) -> None:
    assert takes_gzip({"accept-encoding": text}) is takes


def test_a_client_that_takes_gzip_gets_it_and_others_do_not(store: Tracked) -> None:
    store.put_gzip("a", DATA)
    plain, small = store.get("a"), get(store, "a")
    assert plain.body == DATA
    assert not is_packed(plain)
    assert is_packed(small)
    assert gzip.decompress(small.body) == DATA
    assert small.fields["content-length"] == str(len(small.body))
    for reply in (plain, small):
        assert reply.fields["logical-size"] == str(len(DATA))
        assert reply.fields["sha256-checksum"] == DIGEST
        assert reply.fields["vary"] == "accept-encoding"
        assert reply.version == NOON
    assert small.fields["etag"] != plain.fields["etag"]


def test_head_says_the_same_as_get(store: Tracked) -> None:
    store.put("a", DATA)
    head, got = get(store, "a", "HEAD"), get(store, "a")
    assert (head.status, head.body) == (200, b"")
    assert is_packed(head)
    assert {**head.fields, "date": ""} == {**got.fields, "date": ""}


def test_a_content_is_compressed_once_for_all_files_that_have_it(store: Tracked) -> None:
    store.put("a", DATA)
    store.put("b", DATA)
    first = get(store, "a").body
    file = packed(store)[0]
    before = file.stat().st_mtime_ns
    assert [get(store, path).body for path in ("a", "b", "a")] == [first] * 3
    assert packed(store) == [file]
    assert file.stat().st_mtime_ns == before


def test_what_is_sent_at_once_from_memory_is_the_same(store: Tracked) -> None:
    store.put("a", DATA[:20_000])
    first, quick = get(store, "a"), get(store, "a")
    slow = store.ask("GET", "/files/a?x", Accept_Encoding="gzip")
    assert is_packed(quick)
    for reply in (first, slow):
        assert {**reply.fields, "date": ""} == {**quick.fields, "date": ""}
        assert reply.body == quick.body


@pytest.mark.parametrize(
    "data", [b"", b"x" * (SMALL_BYTES - 1), os.urandom(50_000)], ids=["empty", "small", "dense"]
)
def test_what_does_not_shrink_is_sent_as_it_is(store: Tracked, data: bytes) -> None:
    store.put("a", data)
    for _ in range(2):
        reply = get(store, "a")
        assert not is_packed(reply)
        assert reply.body == data
    assert not packed(store)


def test_each_form_has_a_tag_that_its_clients_can_come_back_with(store: Tracked) -> None:
    store.put("a", DATA)
    small, plain = get(store, "a").fields["etag"], store.get("a").fields["etag"]
    assert get(store, "a", If_None_Match=small).status == 304
    assert get(store, "a", If_None_Match=plain).status == 200
    assert store.get("a", If_None_Match=small).status == 200
    unchanged = store.get("a", If_None_Match=plain)
    assert (unchanged.status, unchanged.fields["vary"]) == (304, "accept-encoding")


def test_whoever_has_seen_either_form_may_replace_the_file(store: Tracked) -> None:
    store.put("a", DATA)
    tag = get(store, "a").fields["etag"]
    assert store.put("a", b"new", NOON + 1, If_Match=tag).status == 200
    assert store.put("a", b"newer", NOON + 2, If_Match=tag).status == 412
    assert store.put("a", b"newer", NOON + 2, If_None_Match="*").status == 412


def test_a_part_is_one_of_the_plain_bytes(store: Tracked) -> None:
    store.put("a", DATA)
    get(store, "a")
    part = get(store, "a", Range="bytes=3-12")
    assert (part.status, part.body) == (206, DATA[3:13])
    assert not is_packed(part)


def test_a_part_of_the_compressed_bytes_is_for_those_who_name_them(store: Tracked) -> None:
    store.put("a", DATA)
    whole = get(store, "a")
    part = get(store, "a", Range="bytes=10-", If_Range=whole.fields["etag"])
    assert (part.status, whole.body[:10] + part.body) == (206, whole.body)
    assert is_packed(part)
    store.put("a", DATA[:-1], NOON + 1)
    other = get(store, "a", Range="bytes=10-", If_Range=whole.fields["etag"])
    assert (other.status, gzip.decompress(other.body)) == (200, DATA[:-1])


def test_old_versions_are_compressed_too(store: Tracked) -> None:
    store.put("a", DATA)
    store.put("a", b"new", NOON + 1)
    reply = store.ask("GET", f"/files/a?version={NOON}", Accept_Encoding="gzip")
    assert is_packed(reply)
    assert gzip.decompress(reply.body) == DATA


def test_what_others_wrote_is_sent_as_it_is_now(store: Tracked) -> None:
    store.put("a", DATA)
    get(store, "a")
    write(store.path / "a", DATA.upper())
    assert gzip.decompress(get(store, "a").body) == DATA.upper()


def test_a_large_file_is_compressed_aside_and_sent_as_it_is_meanwhile(store: Tracked) -> None:
    data = DATA * (NOW_BYTES // len(DATA) + 1)
    store.put("a", data)
    first = get(store, "a")
    assert first.body == data
    wait_until(lambda: is_packed(get(store, "a", "HEAD")), "it is compressed")
    assert gzip.decompress(get(store, "a").body) == data
    # Also one of which the server does not know anything yet.
    write(store.path / "b", data[1:])
    assert not is_packed(get(store, "b"))
    wait_until(lambda: is_packed(get(store, "b", "HEAD")), "it is compressed")
    assert gzip.decompress(get(store, "b").body) == data[1:]


def test_the_compressed_bytes_have_a_limit(tmp_path: Path) -> None:
    with tracked(tmp_path, gzip_cache=2_000) as store:
        for number in range(12):
            data = f"{number}".encode() * 1_500 + os.urandom(300)
            store.put(f"{number}", data)
            assert gzip.decompress(get(store, f"{number}").body) == data
            assert sum(path.stat().st_size for path in packed(store)) <= 2_000
        assert packed(store)


def test_nothing_is_compressed_where_nothing_may_be_kept(tmp_path: Path) -> None:
    with tracked(tmp_path, gzip_cache=0) as store:
        store.put("a", DATA)
        assert get(store, "a").body == DATA
        assert not packed(store)


def test_what_an_earlier_server_compressed_is_used_and_counted(tmp_path: Path) -> None:
    data = os.urandom(4_000).hex().encode()
    with tracked(tmp_path) as store:
        store.put("a", data)
        get(store, "a")
        made = packed(store)[0].stat()
    with tracked(tmp_path) as store:
        assert is_packed(get(store, "a"))
        assert packed(store)[0].stat().st_ino == made.st_ino
    with tracked(tmp_path, gzip_cache=made.st_size) as store:
        store.put("b", data[1:])
        assert is_packed(get(store, "b"))
        assert [path.stat().st_ino for path in packed(store)] != [made.st_ino]


def test_what_is_kept_compressed_may_be_removed_at_any_time(store: Tracked) -> None:
    store.put("a", DATA)
    get(store, "a")
    packed(store)[0].unlink()
    assert gzip.decompress(get(store, "a").body) == DATA
    packed(store)[0].unlink()
    slow = store.ask("GET", "/files/a?x", Accept_Encoding="gzip")
    assert gzip.decompress(slow.body) == DATA


def test_many_clients_at_once_get_all_of_it(store: Tracked) -> None:
    start = threading.Barrier(8)
    store.put("a", DATA)

    def ask(_: int) -> bytes:
        start.wait()
        reply = get(store, "a")
        return gzip.decompress(reply.body) if is_packed(reply) else reply.body

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {DATA}
    assert len(packed(store)) == 1
    assert store.staged() == 0
