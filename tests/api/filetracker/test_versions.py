"""What was replaced or deleted stays, byte for byte, and no change to one path shows in another."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.beneath.root import Beneath
from api.filetracker import upkeep
from tests.api.filetracker.tracking import NOON, Tracked, tracked
from tests.watcher.nas import write


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Tracked]:
    with tracked(tmp_path) as store:
        yield store


def versions(store: Tracked, path: str) -> list[tuple[int, int, bool]]:
    reply = store.ask("GET", f"/versions/{path}")
    assert reply.status == 200
    found: list[dict[str, Any]] = json.loads(reply.body)["versions"]
    return [(each["version"] - NOON, each["size"], each["current"]) for each in found]


def at(store: Tracked, path: str, version: int) -> bytes | int:
    """Return the content of a version, or the status when there is none."""
    reply = store.ask("GET", f"/files/{path}?version={version}")
    return reply.body if reply.status == 200 else reply.status


def blobs(store: Tracked) -> list[Path]:
    return sorted((store.path / ".nasfeed/versions/blobs").glob("*/*"))


def test_every_version_can_be_got(store: Tracked) -> None:
    for number in range(4):
        store.put("d/a", bytes(number), NOON + number)
    assert [at(store, "d/a", NOON + n) for n in range(4)] == [bytes(n) for n in range(4)]
    assert versions(store, "d/a") == [(3, 3, True), (2, 2, False), (1, 1, False), (0, 0, False)]
    assert at(store, "d/a", NOON + 9) == 404


def test_a_version_may_be_asked_for_by_its_date_and_in_part(store: Tracked) -> None:
    store.put("a", b"0123456789")
    store.put("a", b"new", NOON + 1)
    reply = store.ask("GET", "/files/a?version=Tue,+14+Nov+2023+22:13:20+GMT", Range="bytes=2-4")
    assert (reply.status, reply.body, reply.version) == (206, b"234", NOON)
    digest = hashlib.sha256(b"0123456789").hexdigest()
    assert (reply.fields["sha256-checksum"], reply.fields["etag"]) == (digest, f'"{digest}"')


@pytest.mark.parametrize("version", ["x", "", "-1", "99999999999999"])
def test_what_is_no_version_is_refused(store: Tracked, version: str) -> None:
    store.put("a")
    status = store.ask("GET", f"/files/a?version={version}").status
    assert status == (400 if version else 200)


def test_what_is_deleted_is_kept(store: Tracked) -> None:
    store.put("d/a", b"data")
    store.delete("d/a")
    assert store.get("d/a").status == 404
    assert at(store, "d/a", NOON) == b"data"
    assert versions(store, "d/a") == [(0, 4, False)]


def test_of_an_equal_version_the_newest_content_counts_and_both_are_kept(store: Tracked) -> None:
    store.put("a", b"first")
    store.put("a", b"second")
    assert at(store, "a", NOON) == b"second"
    assert versions(store, "a") == [(0, 6, True), (0, 5, False)]


def test_a_file_without_versions_is_404(store: Tracked) -> None:
    assert store.ask("GET", "/versions/none").status == 404


def test_equal_contents_are_kept_once(store: Tracked) -> None:
    for path in ("a", "b", "c"):
        store.put(path, b"same")
        store.put(path, b"other " + path.encode(), NOON + 1)
    assert len(blobs(store)) == 1
    assert [at(store, path, NOON) for path in "abc"] == [b"same"] * 3


def test_what_is_kept_has_no_other_name_by_which_it_could_be_written_to(store: Tracked) -> None:
    store.put("a", b"data")
    os.link(store.path / "a", store.path / "link")
    store.nas.see(store.path)
    store.put("a", b"new", NOON + 1)
    (store.path / "link").write_bytes(b"DATA")
    assert at(store, "a", NOON) == b"data"
    assert [blob.stat().st_nlink for blob in blobs(store)] == [1]


def test_what_others_wrote_is_kept_as_they_wrote_it(store: Tracked) -> None:
    store.put("a", b"ours")
    write(store.path / "a", b"theirs")
    os.utime(store.path / "a", (NOON, NOON))
    store.put("a", b"new", NOON + 1)
    assert at(store, "a", NOON) == b"theirs"


def test_a_change_of_one_path_does_not_show_in_another(store: Tracked) -> None:
    store.put("a", b"same")
    store.put("b", b"same")
    with (store.path / "a").open("r+b") as file:
        file.write(b"XX")
    assert store.get("b").body == b"same"


def test_the_number_of_versions_can_be_bounded(tmp_path: Path) -> None:
    with tracked(tmp_path, keep_versions=2) as store:
        for number in range(5):
            store.put("a", bytes(number), NOON + number)
        assert versions(store, "a") == [(4, 4, True), (3, 3, False), (2, 2, False)]


def test_none_at_all_can_be_kept(tmp_path: Path) -> None:
    with tracked(tmp_path, keep_versions=0) as store:
        store.put("a", b"old")
        store.put("a", b"new", NOON + 1)
        assert versions(store, "a") == [(1, 3, True)]
        assert blobs(store) == []


def test_a_quota_counts_old_versions_too(tmp_path: Path) -> None:
    with tracked(tmp_path, quota=10_000) as store:
        assert store.put("a", bytes(6_000)).status == 200
        assert store.put("b", bytes(6_000)).status == 507
        assert store.put("a", b"x" * 4_000, NOON + 1).status == 200
        refused = store.put("a", b"y" * 100, NOON + 2)
        assert (refused.status, "10000 bytes" in refused.reason) == (507, True)
        assert store.get("b").status == 404


def test_what_is_just_being_uploaded_does_not_count_twice(store: Tracked) -> None:
    store.put("a", bytes(1_000))
    (store.path / ".nasfeed" / "staging" / "begun").write_bytes(bytes(6_000))
    beneath = Beneath(lambda: os.open(store.path, os.O_PATH | os.O_DIRECTORY))
    assert upkeep.usage(beneath) == 1_000
    (store.path / ".nasfeed" / "staging" / "begun").unlink()


def test_versions_are_not_in_the_feed_nor_in_lists(store: Tracked) -> None:
    store.put("a", b"old")
    store.put("a", b"new", NOON + 1)
    store.nas.see(store.path)
    assert store.listed() == {"a"}


def test_a_version_that_is_missing_is_not_looked_for_on_another_server(tmp_path: Path) -> None:
    with tracked(tmp_path, fallback_url="http://localhost:1/") as store:
        store.put("a", b"data")
        assert store.get("b").status == 307
        for path in ("a", "b"):
            reply = store.ask("GET", f"/files/{path}?version={NOON - 1}")
            assert (reply.status, reply.reason) == (404, f'File "{path}" has no such version')
