"""What happens to files while nobody looks, and what a server says of it when it is back."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.events import Content, Removed
from tests.convergence.operations import exchange
from tests.watcher.nas import BACKENDS, Nas, running, write


@pytest.fixture(params=BACKENDS)
def nas(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Nas]:
    with running(tmp_path, "one", "two", backend=request.param) as nas:
        yield nas


def test_a_restart_without_changes_says_nothing_and_reads_nothing(nas: Nas) -> None:
    one = nas.roots["one"]
    write(one / "directory" / "file")
    os.link(one / "directory" / "file", one / "link")
    (one / "loop").symlink_to(".")
    os.mkfifo(one / "fifo")
    nas.see()
    nas.wait(lambda: nas.node(one / "directory" / "file").state.nlink == 2, "the link is told")
    nas.see()
    before = nas.feed(0)
    with nas.away():
        pass
    nas.see()
    assert nas.feed(0) == before
    assert nas.system.describer.status.done == 0


def test_renames_keep_ids(nas: Nas) -> None:
    one = nas.roots["one"]
    write(one / "directory" / "deep" / "file")
    write(one / "single", b"1")
    nas.see()
    cursor = nas.head
    numbers = [nas.number(one / n) for n in ("directory", "directory/deep/file", "single")]
    with nas.away():
        (one / "new").mkdir()
        (one / "directory").rename(one / "new" / "place")
        (one / "single").rename(one / "other")
    nas.see()
    assert [nas.number(one / n) for n in ("new/place", "new/place/deep/file", "other")] == numbers
    assert set(nas.feed(cursor)) == {nas.number(one / "new"), numbers[0], numbers[2]}


def test_a_move_to_another_root_keeps_the_ids(nas: Nas) -> None:
    """Whichever of the two is compared first."""
    one, two = nas.roots["one"], nas.roots["two"]
    names = ["directory", "directory/file", "single"]
    write(one / "directory" / "file")
    write(one / "single")
    nas.see()
    before = [nas.number(one / name) for name in names]
    for here, there in ((one, two), (two, one), (one, two)):
        with nas.away():
            for name in ("directory", "single"):
                (here / name).rename(there / name)
        nas.see()
        assert [nas.number(there / name) for name in names] == before


def test_exchanged_files_exchange_ids(nas: Nas) -> None:
    one = nas.roots["one"]
    write(one / "a", b"1")
    write(one / "b", b"2")
    nas.see()
    numbers = nas.number(one / "a"), nas.number(one / "b")
    with nas.away():
        exchange(bytes(one / "a"), bytes(one / "b"))
    nas.see()
    assert (nas.number(one / "b"), nas.number(one / "a")) == numbers


def test_a_file_made_in_the_place_of_another_inode_is_another_node(nas: Nas) -> None:
    one = nas.roots["one"]
    for turn in range(3):
        write(one / f"old-{turn}")
    nas.see()
    numbers = {nas.number(one / f"old-{turn}") for turn in range(3)}
    with nas.away():
        for turn in range(3):
            (one / f"old-{turn}").unlink()
            write(one / f"new-{turn}", b"other")
    nas.see()
    assert not numbers & {nas.number(one / f"new-{turn}") for turn in range(3)}


def test_removed_and_replaced_things_are_told(nas: Nas) -> None:
    one = nas.roots["one"]
    write(one / "tree" / "file")
    write(one / "file")
    nas.see()
    with nas.away():
        shutil.rmtree(one / "tree")
        write(one / "tree")
        (one / "file").unlink()
        write(one / "file" / "inside")
    nas.see()


def test_bytes_changed_with_size_and_times_kept_are_read_also_after_a_rename(nas: Nas) -> None:
    one = nas.roots["one"]
    for name in ("stays", "moves"):
        write(one / name, b"first")
    nas.see()
    with nas.away():
        for name in ("stays", "moves"):
            before = (one / name).stat()
            with (one / name).open("r+b") as file:
                file.write(b"other")
            os.utime(one / name, ns=(before.st_atime_ns, before.st_mtime_ns))
        (one / "moves").rename(one / "moved")
    nas.see()


def test_what_was_pending_at_the_stop_is_described_after_the_start(nas: Nas) -> None:
    one = nas.roots["one"]
    for number in range(50):
        write(one / str(number), b"%d" % number)
    nas.wait(lambda: nas.find(one / "49") is not None, "the last file is known")
    with nas.away():
        pass
    nas.see()
    assert {nas.node(one / str(number)).state.content for number in range(50)} == {Content.DONE}


def test_a_root_that_is_no_longer_configured_is_removed(tmp_path: Path) -> None:
    with running(tmp_path, "one", "two") as nas:
        write(nas.roots["two"] / "file")
        nas.see()
        root = nas.number(nas.roots["two"])
        doomed = {root, nas.number(nas.roots["two"] / "file")}
        cursor = nas.head
    with running(tmp_path, "one") as nas:
        assert nas.removals(cursor) == dict.fromkeys(doomed, "root_removed")
        tombstone = nas.feed(cursor)[root]
        assert isinstance(tombstone, Removed)
        assert tombstone.target == bytes(tmp_path / "two")
