"""The rules of the protocol, request by request, over real sockets on a real root."""

import gzip
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from eventlog.events import Created, Removed
from tests.api.filetracker.tracking import DAY, NOON, Tracked, modified, tracked
from tests.watcher.mounting import mounted, privileged
from tests.watcher.nas import write


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    with tracked(tmp_path_factory.mktemp("store"), max_file_size=2**22) as served:
        yield served


@pytest.fixture
def store(served: Tracked, request: pytest.FixtureRequest) -> Iterator[Tracked]:
    """The same store for all tests, emptied after each."""
    yield served
    for path in served.path.iterdir():
        if path.name != ".nasfeed":
            remove(path)
    assert served.staged() == 0, request.node.name


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for below in path.iterdir():
            remove(below)
        path.rmdir()
    else:
        path.unlink()


@pytest.mark.parametrize("target", ["/version", "/version/"])
def test_the_version_of_the_protocol_is_two(store: Tracked, target: str) -> None:
    reply = store.ask("GET", target)
    assert (reply.status, json.loads(reply.body)) == (200, {"protocol_versions": [2]})


def test_what_is_put_can_be_got_with_its_version(store: Tracked) -> None:
    assert store.put("a", b"data").version == NOON
    reply = store.get("a")
    assert (reply.status, reply.body, reply.version) == (200, b"data", NOON)
    assert reply.fields["logical-size"] == reply.fields["content-length"] == "4"
    assert reply.fields["content-type"] == "application/octet-stream"


def test_what_is_put_is_an_ordinary_file_with_the_modes_of_its_directory(store: Tracked) -> None:
    store.put("d/e/a", b"data")
    path = store.path / "d" / "e" / "a"
    assert path.read_bytes() == b"data"
    assert path.stat().st_mtime_ns == NOON * 10**9
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)


def test_what_is_put_is_in_the_log_with_its_author_when_the_answer_comes(store: Tracked) -> None:
    head = store.nas.head
    # No test before this one had such a directory, whose removal might still be on the way.
    store.put("authored/a", b"data")
    made = [event for event in store.nas.events(head) if isinstance(event, Created)]
    assert {(e.author, e.state.name) for e in made} >= {
        ("filetracker", b"authored"),
        ("filetracker", b"a"),
    }


def test_head_says_the_same_without_the_body(store: Tracked) -> None:
    store.put("a", b"data")
    head, got = store.get("a", "HEAD"), store.get("a")
    assert (head.status, head.body) == (200, b"")
    assert {**head.fields, "date": ""} == {**got.fields, "date": ""}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_missing_file_is_404_and_says_nothing_of_the_server(store: Tracked, method: str) -> None:
    reply = store.ask(method, f"/files/none/at/all?{modified(NOON)}")
    assert reply.status == 404
    assert reply.reason == 'File "none/at/all" not found'
    assert str(store.path).encode() not in reply.body


def test_an_older_version_changes_nothing_and_is_told_the_newer_one(store: Tracked) -> None:
    store.put("a", b"new", NOON)
    assert store.put("a", b"old", NOON - 1).version == NOON
    assert (store.get("a").body, store.get("a").version) == (b"new", NOON)


def test_an_equal_version_overwrites(store: Tracked) -> None:
    store.put("a", b"first")
    assert store.put("a", b"second").version == NOON
    assert store.get("a").body == b"second"


def test_a_newer_version_overwrites(store: Tracked) -> None:
    store.put("a", b"first")
    assert store.put("a", b"second", NOON + 1).version == NOON + 1
    assert (store.get("a").body, store.get("a").version) == (b"second", NOON + 1)


def test_fractions_of_seconds_are_cut_off_wherever_versions_are_compared(store: Tracked) -> None:
    path = write(store.path / "a", b"by another door")
    os.utime(path, ns=(NOON * 10**9 + 900_000_000,) * 2)
    store.nas.see(store.path)
    assert store.get("a").version == NOON
    assert store.listed("", NOON) == {"a"}
    assert store.put("a", b"equal", NOON).version == NOON
    assert store.get("a").body == b"equal"


def test_delete_removes_and_directories_that_are_empty_go_too(store: Tracked) -> None:
    store.put("d/e/a")
    store.put("d/b")
    assert store.delete("d/e/a").status == 200
    assert store.get("d/e/a").status == 404
    assert [path.name for path in (store.path / "d").iterdir()] == ["b"]


def test_deleting_an_older_version_does_nothing(store: Tracked) -> None:
    store.put("a", b"data", NOON)
    assert store.delete("a", NOON - 1).status == 200
    assert store.get("a").body == b"data"


def test_a_removal_is_in_the_log_with_its_author(store: Tracked) -> None:
    store.put("a")
    head = store.nas.head
    store.delete("a")
    [event] = [e for e in store.nas.feed(head).values() if isinstance(e, Removed)]
    assert event.author == "filetracker"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_change_without_a_date_is_refused(store: Tracked, method: str) -> None:
    reply = store.ask(method, "/files/a", b"data" if method == "PUT" else None)
    assert (reply.status, reply.reason) == (400, '"?last-modified=" is required')


BAD_DATES = ["", "x", "yesterday", "Thu,+99+Jan+2020+00:00:00+GMT", "1700000000", "%ff", "-1"]


@pytest.mark.parametrize("date", [d for d in BAD_DATES if d])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_bad_date_is_refused(store: Tracked, method: str, date: str) -> None:
    body = b"data" if method == "PUT" else None
    assert store.ask(method, f"/files/a?last_modified={date}", body).status == 400


@pytest.mark.parametrize("version", [-1, -(10**9), 253_402_300_799])
def test_a_version_that_no_file_can_have_is_refused(store: Tracked, version: int) -> None:
    assert store.put("a", version=version).status == 400


def test_the_near_future_is_a_clock_that_goes_wrong_and_accepted(store: Tracked) -> None:
    soon = store.nas.system.log.call(lambda tx: tx.time_us) // 10**6 + DAY // 2
    assert store.put("a", version=soon).version == soon


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 14 Nov 2023 22:13:20 -0000",
        "Tue, 14 Nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 2023 22:13:20",
        "14 Nov 2023 22:13:20 +0000",
        "Tue, 14 Nov 2023 23:13:20 +0100",
    ],
)
def test_dates_may_have_any_zone_and_none_is_utc(store: Tracked, date: str) -> None:
    assert store.ask("PUT", f"/files/a?last_modified={quote(date)}", b"x").version == NOON


def test_a_gzip_upload_is_stored_unpacked(store: Tracked) -> None:
    assert store.put_gzip("a", b"data" * 1000).status == 200
    assert store.get("a").body == b"data" * 1000
    assert (store.path / "a").read_bytes() == b"data" * 1000


def test_gzip_in_several_members_and_with_zeros_behind_is_one_file(store: Tracked) -> None:
    body = gzip.compress(b"one") + gzip.compress(b"") + gzip.compress(b"two") + bytes(9)
    assert store.put("a", body, Content_Encoding="gzip").status == 200
    assert store.get("a").body == b"onetwo"


@pytest.mark.parametrize("is_gzip", [True, False])
def test_empty_files_are_files(store: Tracked, *, is_gzip: bool) -> None:
    reply = store.put_gzip("a", b"") if is_gzip else store.put("a", b"")
    assert reply.status == 200
    assert (store.get("a").status, store.get("a").body) == (200, b"")


def test_a_chunked_body_without_length_is_taken_also_an_empty_one(store: Tracked) -> None:
    assert store.put("a", iter([b"one", b"two"])).status == 200
    assert store.put("b", iter([])).status == 200
    assert (store.get("a").body, store.get("b").body) == (b"onetwo", b"")


LIES: dict[str, dict[str, Any]] = {
    "digest": {"SHA256_Checksum": "0" * 64},
    "size too small": {"Logical_Size": "3"},
    "size too large": {"Logical_Size": "5"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.parametrize("is_gzip", [True, False])
def test_a_lying_upload_stores_nothing(
    store: Tracked, lie: dict[str, Any], *, is_gzip: bool
) -> None:
    store.put("a", b"before", NOON - 1)
    reply = store.put_gzip("a", b"data", **lie) if is_gzip else store.put("a", b"data", **lie)
    assert reply.status == 422
    assert reply.reason
    assert store.get("a").body == b"before"


def test_the_digest_of_something_that_is_stored_serves_it_to_nobody(store: Tracked) -> None:
    """The original believes the digest and hands out what is stored under it."""
    secret = b"secret of another"
    store.put_gzip("secret", secret)
    digest = hashlib.sha256(secret).hexdigest()
    reply = store.put_gzip("mine", b"x", SHA256_Checksum=digest, Logical_Size=str(len(secret)))
    assert (reply.status, store.get("mine").status) == (422, 404)


@pytest.mark.parametrize("digest", ["../../x", "", "0" * 63, "g" * 64, "0" * 64 + "/"])
def test_a_digest_is_never_a_path(store: Tracked, digest: str) -> None:
    assert store.put("a", b"data", SHA256_Checksum=digest).status == 400


def test_the_digest_may_be_in_upper_case(store: Tracked) -> None:
    digest = hashlib.sha256(b"data").hexdigest().upper()
    assert store.put("a", b"data", SHA256_Checksum=digest).status == 200


BROKEN = {
    "cut short": gzip.compress(b"data" * 99)[:-9],
    "no gzip": b"this is no gzip",
    "nothing": b"",
    "wrong checksum": gzip.compress(b"data")[:-8] + bytes(8),
    "rubbish behind": gzip.compress(b"data") + b"rubbish",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_a_broken_gzip_stream_stores_nothing(store: Tracked, body: bytes) -> None:
    reply = store.put("a", body, Content_Encoding="gzip")
    assert (reply.status, store.get("a").status) == (422, 404)


@pytest.mark.parametrize("fields", [{"Logical_Size": "x"}, {"Logical_Size": "-1"}])
def test_a_size_that_is_none_is_refused(store: Tracked, fields: dict[str, Any]) -> None:
    assert store.put("a", **fields).status == 400


def test_other_codings_are_refused(store: Tracked) -> None:
    assert store.put("a", Content_Encoding="br").status == 415


def test_an_upload_that_is_cut_off_stores_nothing(store: Tracked) -> None:
    store.put("a", b"before", NOON - 1)
    head = (
        f"PUT /files/a?{modified(NOON)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500000\r\n"
    )
    with store.server.connect() as connection:
        connection.sendall(head.encode() + b"\r\n" + bytes(400_000))
        store.server.wait_until(lambda: store.staged() == 1)
    store.server.wait_until(lambda: store.staged() == 0)
    assert store.get("a").body == b"before"


def test_a_file_that_is_too_large_is_refused_before_or_while_it_comes(store: Tracked) -> None:
    large = bytes(2**22 + 1)
    assert store.put("a", large).status == 413
    assert store.put("a", iter([large])).status == 413
    assert store.put_gzip("a", large).status == 413
    assert store.put("a", gzip.compress(large), Content_Encoding="gzip").status == 413
    assert store.put("a", bytes(2**22)).status == 200


def test_a_file_larger_than_the_disk_is_refused_before_it_comes(tmp_path: Path) -> None:
    with tracked(tmp_path) as store:
        reply = store.put("a", b"", Logical_Size=str(10**17))
        assert (reply.status, reply.reason) == (507, "the disk has not enough space left")


NAMES = ["a b", "café", "żółć/ą", "a+b", "a%b", "a?b", "a#b", "a\\b", "…", "'\"", "x" * 255]


@pytest.mark.parametrize("name", NAMES)
def test_names_may_be_odd(store: Tracked, name: str) -> None:
    assert store.put(quote(name), b"data").status == 200
    assert store.get(quote(name)).body == b"data"
    assert store.listed() == {name}
    assert (store.path / name).read_bytes() == b"data"


def test_names_that_a_plain_list_cannot_carry_are_in_the_json_list(store: Tracked) -> None:
    for name in (b"\xff\xfe", b"two\nlines", b"plain"):
        assert store.put(quote(name)).status == 200
        assert store.get(quote(name)).body == b"data"
    assert store.listed() == {"plain"}
    lines = store.list("", Accept="application/x-ndjson").body.splitlines()
    found = {line["path"]: line for line in map(json.loads, lines)}
    assert set(found) == {"\ufffd\ufffd", "two\nlines", "plain"}
    assert found["\ufffd\ufffd"]["raw"] == "//4="
    digest = hashlib.sha256(b"data").hexdigest()
    assert found["plain"] == {"path": "plain", "version": NOON, "size": 4, "sha256": digest}


@pytest.mark.parametrize("target", ["/files//a", "/files///a", "//files/a", "/files/a/"])
def test_more_slashes_than_needed_mean_the_same_file(store: Tracked, target: str) -> None:
    store.put("a", b"data")
    assert store.ask("GET", target).body == b"data"


CLIMBING = [
    *("../a", "a/../b", "%2e%2e/a", "..%2fa", "a/..", ".", "./a", "a/./b", "a//b", "a%00b"),
    *("x" * 256, "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "/".join(["y" * 200] * 21)),
]


@pytest.mark.parametrize("path", CLIMBING)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_paths_that_could_mean_something_else_are_refused(
    store: Tracked, method: str, path: str
) -> None:
    body = b"data" if method == "PUT" else None
    assert store.ask(method, f"/files/{path}?{modified(NOON)}", body).status == 400


@pytest.mark.parametrize("name", ["/files/.nasfeed/staging/x", "/list/.nasfeed"])
def test_what_belongs_to_the_server_itself_is_out_of_reach(store: Tracked, name: str) -> None:
    assert store.ask("GET", name).status == 403


@pytest.mark.parametrize("name", [".DS_Store", "@eaDir/x", "a.__tmp__"])
def test_names_that_stay_out_of_the_feed_are_not_stored(store: Tracked, name: str) -> None:
    write(store.path / name)
    assert (store.put(name).status, store.get(name).status) == (403, 404)
    assert store.listed() == set()


def test_files_and_directories_do_not_take_each_others_places(store: Tracked) -> None:
    store.put("file")
    store.put("d/file")
    assert store.put("file/below").status == 409
    assert store.put("d").status == 409
    assert store.delete("d").status == 409
    assert store.get("d").status == store.get("file/below").status == 404
    assert store.delete("file/below").status in (404, 409)


@pytest.mark.parametrize("target", ["outside", "/etc/passwd", ".."])
def test_links_are_never_followed(store: Tracked, target: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (store.path / "l").symlink_to(str(tmp_path / target) if target == "outside" else target)
    assert store.get("l").status == store.get("l/passwd").status == 404
    assert store.put("l").status == 409
    assert store.put("l/new").status == 409
    assert store.delete("l").status == 409
    assert store.list("/l").status == 400
    assert store.listed() == set()


def test_what_is_no_file_is_not_served_and_does_not_hang(store: Tracked) -> None:
    os.mkfifo(store.path / "fifo")
    assert store.get("fifo").status == 404
    assert store.put("fifo").status == 409


def test_the_list_has_all_files_below_a_directory(store: Tracked) -> None:
    for path in ("a", "d/b", "d/e/c"):
        store.put(path)
    (store.path / "empty").mkdir()
    assert store.listed() == store.listed("/") == {"a", "d/b", "d/e/c"}
    assert store.listed("/d") == store.listed("/d/") == {"b", "e/c"}
    assert store.listed("/empty") == set()
    assert store.list().fields["content-type"] == "text/plain; charset=utf-8"


def test_the_cutoff_of_a_list_is_inclusive_and_now_when_it_is_not_given(store: Tracked) -> None:
    for age in (-1, 0, 1):
        store.put(f"{age}", version=NOON + age)
    future = store.nas.system.log.call(lambda tx: tx.time_us) // 10**6 + DAY // 2
    store.put("future", version=future)
    assert store.listed("", NOON) == {"-1", "0"}
    assert store.listed() == {"-1", "0", "1"}


@pytest.mark.parametrize("path", ["/none", "/file"])
def test_the_list_of_what_is_no_directory_is_refused(store: Tracked, path: str) -> None:
    store.put("file")
    reply = store.list(path)
    assert (reply.status, reply.reason) == (400, "Path doesn't exist or is not a directory")


@pytest.mark.parametrize("target", ["/listC", "/filesx", "/versionary"])
def test_an_unknown_endpoint_is_refused(store: Tracked, target: str) -> None:
    reply = store.ask("GET", target)
    name = target[1:]
    assert reply.status == 400
    assert reply.reason == f'Unknown endpoint "{name}", expected "files" or "list"'


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "PATCH", "TRACE"])
def test_other_methods_are_refused(store: Tracked, method: str) -> None:
    reply = store.ask(method, "/files/a")
    assert (reply.status, reply.fields["allow"]) == (405, "GET, HEAD, PUT, DELETE")


def test_the_feed_stays_where_it_was(store: Tracked) -> None:
    assert store.ask("GET", "/api/v1/cursor").status == 200


def test_another_hosts_name_is_refused(store: Tracked) -> None:
    assert store.ask("GET", "/version", Host="evil.example").status == 421


def test_what_is_stored_is_no_page_for_a_browser(store: Tracked) -> None:
    store.put("page.html", b"<script>alert(1)</script>")
    fields = store.get("page.html").fields
    assert fields["content-security-policy"] == "sandbox; default-src 'none'"
    assert fields["x-content-type-options"] == "nosniff"


def test_of_uploads_at_once_the_newest_version_wins(store: Tracked) -> None:
    def put(version: int) -> None:
        assert store.put("a", str(version).encode() * 1000, version).status == 200

    for start in range(3):
        versions = [NOON + start * 100 + n for n in (3, 1, 7, 5, 2, 0, 6, 4)]
        threads = [threading.Thread(target=put, args=(version,)) for version in versions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        newest = max(versions)
        assert (store.get("a").version, store.get("a").body) == (
            newest,
            str(newest).encode() * 1000,
        )


def test_a_file_that_shrinks_while_it_is_sent_is_cut_not_padded(store: Tracked) -> None:
    path = write(store.path / "a", bytes(2**22))
    with store.server.connect() as connection:
        connection.sendall(b"GET /files/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = len(connection.recv(1000))
        os.truncate(path, 1000)
        while piece := connection.recv(2**20):
            received += len(piece)
    assert received <= 2**22


@privileged
def test_what_is_mounted_below_from_another_disk_is_stored_to(store: Tracked) -> None:
    point = store.path / "disk"
    point.mkdir()
    with mounted("-t", "tmpfs", "tmpfs", point=point):
        store.nas.see(store.path)
        assert store.put("disk/d/a", b"one").status == 200
        assert store.put("disk/d/a", b"two", NOON + 1).status == 200
        assert store.get("disk/d/a").body == b"two"
        assert store.ask("GET", f"/files/disk/d/a?version={NOON}").body == b"one"
        # Elsewhere contents are linked as before, not copied.
        store.put("a", b"content of its own")
        inode = (store.path / "a").stat().st_ino
        store.put("a", b"second", NOON + 1)
        kept = (store.path / ".nasfeed/versions/blobs").glob("*/*")
        assert inode in {path.stat().st_ino for path in kept}


@privileged
def test_what_is_mounted_below_from_the_same_disk_is_stored_to(
    store: Tracked, tmp_path: Path
) -> None:
    point, other = store.path / "bound", tmp_path / "other"
    point.mkdir()
    other.mkdir()
    with mounted("--bind", other, point=point):
        store.nas.see(store.path)
        assert store.put("bound/a", b"one").status == 200
        assert store.put("bound/a", b"two", NOON + 1).status == 200
        assert store.get("bound/a").body == b"two"
        assert store.ask("GET", f"/files/bound/a?version={NOON}").body == b"one"
    assert [path.name for path in other.iterdir()] == ["a"]
