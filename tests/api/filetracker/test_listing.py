"""Lists hold little, however many files there are, and tell digests also after a restart."""

import gc
import hashlib
import json
import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from api.filetracker.listing import OPEN_MAX, as_json, as_text, pieces
from api.filetracker.store import Store
from api.served import Touched
from eventlog.clock import SystemClock
from tests.api.filetracker.tracking import NOON, Tracked, tracked
from tests.watcher.nas import write

LATER = 2**40
NAME_BYTES = 200
MANY = 20_000


class Bare:
    """A root that nobody observes; enough for reading."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open_root(self) -> int:
        return os.open(self._path, os.O_PATH | os.O_DIRECTORY)

    def perform(
        self,
        act: Callable[[], Sequence[Touched]],
        about: tuple[bytes, ...],
        author: str,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        raise AssertionError((act, about, author, meanwhile))

    def hides(self, path: bytes) -> bool:
        return path == b".nasfeed"


def listed(path: Path, top: bytes = b"") -> set[bytes]:
    lines = b"".join(pieces(Store(Bare(path), SystemClock()), top, LATER, as_text)).split(b"\n")
    assert lines.pop() == b""
    assert len(set(lines)) == len(lines)
    return set(lines)


def in_json(store: Tracked) -> dict[str, dict[str, Any]]:
    reply = store.list(Accept="application/x-ndjson")
    found = [json.loads(line) for line in reply.body.splitlines()]
    return {each.pop("path"): each for each in found}


def peak_of(path: Path) -> tuple[int, int]:
    """Return how many lines a list has, and the most memory that making it took."""
    store = Store(Bare(path), SystemClock())
    lines = 0
    gc.collect()
    tracemalloc.start()
    try:
        for piece in pieces(store, b"", LATER, as_json(store.digests)):
            lines += piece.count(b"\n")
        return lines, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["files", "directories"])
def test_memory_does_not_grow_with_the_number_of_names(tmp_path: Path, how: str) -> None:
    for number in range(MANY):
        path = tmp_path / f"{number:0{NAME_BYTES}d}"
        if how == "files":
            path.touch()
        else:
            path.mkdir()
    (tmp_path / "last").touch()
    lines, peak = peak_of(tmp_path)
    assert lines == (MANY + 1 if how == "files" else 1)
    assert peak < MANY * NAME_BYTES / 4


def test_directories_deeper_than_are_held_open_are_listed_too(tmp_path: Path) -> None:
    path, expected = tmp_path, set()
    for level in range(3 * OPEN_MAX + 1):
        path = path / "d"
        write(path / "a")
        write(path / "e" / "b")
        expected |= {b"d/" * (level + 1) + b"a", b"d/" * (level + 1) + b"e/b"}
    assert listed(tmp_path) == expected
    assert listed(tmp_path, b"d/d") == {
        each.removeprefix(b"d/d/") for each in expected if each.startswith(b"d/d/")
    }


def test_the_digest_of_what_was_stored_is_told_after_a_restart(tmp_path: Path) -> None:
    with tracked(tmp_path) as store:
        store.put("d/a", b"data")
        store.put("b", b"before")
    write(tmp_path / "files" / "b", b"others")
    write(tmp_path / "files" / "c", b"others")
    with tracked(tmp_path) as store:
        found = in_json(store)
        assert found["d/a"] == {
            "version": NOON,
            "size": 4,
            "sha256": hashlib.sha256(b"data").hexdigest(),
        }
        assert "sha256" not in found["b"]
        assert "sha256" not in found["c"]


def test_a_digest_that_somebody_wrote_to_a_file_decides_nothing(tmp_path: Path) -> None:
    with tracked(tmp_path) as store:
        store.put("a", b"aaaa")
        store.put("b", b"bbbb")
    value = os.getxattr(tmp_path / "files" / "a", "user.nasfeed.sha256")
    os.setxattr(tmp_path / "files" / "b", "user.nasfeed.sha256", value)
    with tracked(tmp_path) as store:
        store.put("a", b"new", NOON + 1)
        store.put("b", b"new", NOON + 1)
        assert store.ask("GET", f"/files/b?version={NOON}").body == b"bbbb"
        assert store.ask("GET", f"/files/a?version={NOON}").body == b"aaaa"
