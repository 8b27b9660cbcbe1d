"""What a client knows is there again after any crash."""

import contextlib
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.tools.client.pages import RESET, node, page, root
from tools.client import state
from tools.client.errors import ProtocolError, StateError
from tools.client.mirror import Mirror
from tools.client.state import StateFile
from tools.client.wire import START, Page

LIFE = [
    page(2, root(), node("a"), has_more=True),
    page(3, node("b")),
    page(5, node("a", "renamed"), "b"),
    page(5),
    page(6),
    RESET,
    page(1, root("new"), has_more=True, log_id="other"),
    page(4, node("c"), log_id="other"),
    page(9, node("d"), log_id="other"),
]


def kept(path: Path, *pages: Page) -> None:
    store = StateFile(path)
    for each in pages:
        store.apply(each)
    store.close()


def told(path: Path) -> Mirror:
    store = StateFile(path)
    store.close()
    return store.mirror


def same(one: Mirror, other: Mirror) -> bool:
    """Compare what is known, the new beginning that goes on included."""
    return vars(one) == vars(other)


def test_a_new_file_knows_nothing(tmp_path: Path) -> None:
    assert told(tmp_path / "state").position == START
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("count", range(len(LIFE) + 1))
def test_what_was_kept_is_known_again(tmp_path: Path, count: int) -> None:
    wanted = Mirror()
    for each in LIFE[:count]:
        wanted.apply(each)
    kept(tmp_path / "state", *LIFE[:count])
    assert same(told(tmp_path / "state"), wanted)


def test_a_file_that_was_cut_anywhere_knows_what_came_before(tmp_path: Path) -> None:
    kept(tmp_path / "state", *LIFE)
    whole = (tmp_path / "state").read_bytes()
    states = [Mirror()]
    for each in LIFE:
        after = states[-1].copy()
        after.apply(each)
        states.append(after)
    ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(ends[0] + 1, len(whole) + 1, 7):
        (tmp_path / "cut").write_bytes(whole[:length])
        mirror = told(tmp_path / "cut")
        assert any(same(mirror, each) for each in states), length
        # Going on from there ends where all went on.
        kept(tmp_path / "cut", RESET, *LIFE[6:])
        assert told(tmp_path / "cut").nodes == states[-1].nodes


def test_damage_costs_what_came_after_it(tmp_path: Path) -> None:
    kept(tmp_path / "state", *LIFE[:3])
    text = (tmp_path / "state").read_bytes()
    (tmp_path / "state").write_bytes(text.replace(b"renamed", b"renumed"))
    mirror = told(tmp_path / "state")
    assert (mirror.position.cursor, mirror.nodes["a"].name) == (3, "a")
    kept(tmp_path / "state", LIFE[2])
    assert told(tmp_path / "state").nodes["a"].name == "renamed"


def test_a_page_that_says_nothing_costs_nothing(tmp_path: Path) -> None:
    kept(tmp_path / "state", *LIFE[:3])
    size = (tmp_path / "state").stat().st_size
    kept(tmp_path / "state", page(5), page(5))
    assert (tmp_path / "state").stat().st_size == size


def test_a_grown_file_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "GROWN_BYTES_MIN", 10_000)
    monkeypatch.setattr(state, "LINE_CHANGES", 2)
    store = StateFile(tmp_path / "state")
    store.apply(page(4, root(), *(node(f"n{number}") for number in range(3))))
    sizes = []
    for number in range(500):
        store.apply(page(5 + number, node("n1", f"name {number}")))
        sizes.append((tmp_path / "state").stat().st_size)
    store.close()
    assert max(sizes) < 13_000
    assert same(told(tmp_path / "state"), store.mirror)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state", "state.lock"]


def test_half_a_tree_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file was written with counts only as a whole."""
    monkeypatch.setattr(state, "GROWN_BYTES_MIN", 1)
    monkeypatch.setattr(state, "LINE_CHANGES", 2)
    nodes = [node(f"n{number}") for number in range(20)]
    kept(tmp_path / "state", page(21, root(), *nodes), page(22, *nodes), page(23, *nodes))
    lines = (tmp_path / "state").read_bytes().splitlines(keepends=True)
    assert b'"pages":11' in lines[0]
    (tmp_path / "state").write_bytes(b"".join(lines[:7]))
    assert told(tmp_path / "state").position == START


@pytest.mark.parametrize("content", [b"precious\n", b"\0" * 100, b'{"a": 1}\n'])
def test_another_programs_file_is_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StateError, match=r"file: this is no state of a client"):
        StateFile(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "VERSION", 2)
    kept(tmp_path / "state", *LIFE)
    monkeypatch.undo()
    with pytest.raises(StateError, match=r"a newer nasfeed wrote this \(format 2\)"):
        StateFile(tmp_path / "state")


def test_one_at_a_time_has_it(tmp_path: Path) -> None:
    first = StateFile(tmp_path / "state")
    with pytest.raises(StateError, match="another program is using it"):
        StateFile(tmp_path / "state")
    first.close()
    told(tmp_path / "state")


@pytest.mark.parametrize("place", ["absent/state", "."])
def test_a_place_that_cannot_be_is_one_line(tmp_path: Path, place: str) -> None:
    with pytest.raises(StateError) as caught:
        StateFile(tmp_path / place)
    assert "\n" not in str(caught.value)


@contextlib.contextmanager
def full_after(size: int) -> Iterator[None]:
    """Let no file grow beyond a size, which fails as a full disk does: in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_the_same_page_may_be_tried_again(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "state")
    store.apply(LIFE[0])
    store.mirror.apply(LIFE[1])
    with (
        full_after((tmp_path / "state").stat().st_size + 20),
        pytest.raises(StateError, match="state: File too large"),
    ):
        store.keep(LIFE[1])
    store.keep(LIFE[1])
    store.close()
    assert same(told(tmp_path / "state"), store.mirror)


def test_a_full_disk_leaves_what_was_kept(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "state")
    store.apply(page(1, root()))
    size = (tmp_path / "state").stat().st_size
    with full_after(size + 20), pytest.raises(StateError):
        store.apply(page(2, node("a")))
    store.close()
    assert told(tmp_path / "state").nodes == {"root": root()}
    assert (tmp_path / "state").stat().st_size == size


def test_what_is_no_change_is_not_kept(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "state")
    store.apply(page(1, root()))
    broken = page(2, node("a"))
    broken.changes.append(msgspec.Raw(b"{}"))
    with pytest.raises(ProtocolError):
        store.apply(broken)
    store.close()
    assert told(tmp_path / "state").position.cursor == 1


def test_a_file_may_be_copied_while_it_is_used(tmp_path: Path) -> None:
    store = StateFile(tmp_path / "state")
    for each in LIFE:
        store.apply(each)
        shutil.copy(tmp_path / "state", tmp_path / "copy")
        assert same(told(tmp_path / "copy"), store.mirror)
    store.close()
