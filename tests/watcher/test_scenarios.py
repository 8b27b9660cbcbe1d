"""What people and programs do to files, and what the feed says of it; one server for all.

Each test works in a directory of its own. Those that need a server of their own are in
the other files of scenarios.
"""

import errno
import mmap
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from eventlog.events import Content, Reason
from tests.convergence.operations import exchange
from tests.watcher.nas import BACKENDS, Nas, inode, running, write


class Spot(NamedTuple):
    """A directory of one test, and who watches it."""

    nas: Nas
    path: Path
    outside: Path

    def see(self) -> None:
        self.nas.see(self.path)

    def number(self, name: str) -> int:
        return self.nas.number(self.path / name)


@pytest.fixture(scope="module", params=BACKENDS)
def watched(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nas]:
    with running(tmp_path_factory.mktemp("nas"), "one", "two", backend=request.param) as nas:
        yield nas


@pytest.fixture
def spot(watched: Nas, request: pytest.FixtureRequest) -> Spot:
    name = request.node.name.replace("/", "_")
    outside = watched.roots["one"].parent / "outside" / name
    outside.mkdir(parents=True)
    path = watched.roots["one"] / name
    path.mkdir()
    watched.see(path)
    return Spot(watched, path, outside)


# What is new.


def test_a_file_in_a_directory_made_just_before_is_seen(spot: Spot) -> None:
    (spot.path / "new").mkdir()
    spot.see()
    write(spot.path / "new" / "file")
    spot.see()
    (spot.path / "new" / "file").unlink()
    spot.see()


def test_a_file_linked_into_place_after_it_was_written_has_its_hash(spot: Spot) -> None:
    """The kernel tells of its making and its closing under no name at all."""
    try:
        fd = os.open(spot.path, os.O_TMPFILE | os.O_WRONLY)
    except OSError as error:
        pytest.skip(f"no unnamed files here: {error}")
    os.write(fd, b"unnamed")
    # With a descriptor, though it is not used, for only then does Python follow the link.
    os.link(f"/proc/self/fd/{fd}", spot.path / "file", src_dir_fd=fd, follow_symlinks=True)
    os.write(fd, b" and more")
    os.close(fd)
    spot.see()


# What is written.


def test_a_save_through_a_temporary_file_is_one_update_of_the_file(spot: Spot) -> None:
    target = write(spot.path / "letter.txt", b"first")
    spot.see()
    number, cursor = spot.number("letter.txt"), spot.nas.head
    write(spot.path / "letter.txt.new", b"second").replace(target)
    spot.see()
    assert spot.number("letter.txt") == number
    assert list(spot.nas.feed(cursor)) == [number]


def test_a_save_through_a_temporary_file_seen_before_is_an_update_as_well(spot: Spot) -> None:
    target = write(spot.path / "letter.txt", b"first")
    spot.see()
    number, cursor = spot.number("letter.txt"), spot.nas.head
    temporary = write(spot.path / "letter.txt.new", b"second")
    spot.see()
    temporary.replace(target)
    spot.see()
    assert spot.number("letter.txt") == number
    assert list(spot.nas.feed(cursor)) == [number]


def test_moving_a_saved_file_away_leaves_nothing(spot: Spot) -> None:
    target = write(spot.path / "letter.txt", b"first")
    spot.see()
    write(spot.path / "letter.txt.new", b"second").replace(target)
    spot.see()
    number, cursor = spot.number("letter.txt"), spot.nas.head
    target.rename(spot.outside / "letter.txt")
    spot.see()
    assert list(spot.nas.removals(cursor)) == [number]


def test_bytes_changed_in_place_are_noticed_though_size_and_times_are_the_same(spot: Spot) -> None:
    path = write(spot.path / "file", b"first")
    spot.see()
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    spot.see()


def test_a_file_cut_by_its_path_is_read_again(spot: Spot) -> None:
    """Only a write is told of; nobody closes anything."""
    path = write(spot.path / "file", b"0123456789")
    spot.see()
    os.truncate(path, 4)
    spot.see()


def test_a_file_that_stays_open_is_followed_while_it_is_written(spot: Spot) -> None:
    with (spot.path / "film.part").open("wb") as file:
        for piece in range(3):
            file.write(b"%d" % piece * 1000)
            file.flush()
            spot.see()


def test_what_is_written_without_a_pause_has_the_right_hash_in_the_end(spot: Spot) -> None:
    path = spot.path / "busy"
    for piece in range(300):
        write(path, b"%d" % piece * 100_000)
    spot.see()


def test_a_store_through_a_mapping_is_found_by_a_comparison(spot: Spot) -> None:
    path = write(spot.path / "mapped", b"x" * 5000)
    spot.see()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:5] = b"other"
        memory.flush()
    for observer in spot.nas.system.observers:
        observer.rescan()
    spot.see()


def test_a_time_set_by_hand_is_told_and_the_hash_stays(spot: Spot) -> None:
    path = write(spot.path / "file")
    spot.see()
    number, digest = spot.number("file"), spot.nas.node(path).state.hash
    os.utime(path, (1_000_000_000, 1_000_000_000))
    spot.see()
    node = spot.nas.node(path)
    assert (node.number, node.state.hash) == (number, digest)
    assert node.state.mtime_ns == 1_000_000_000 * 10**9


def test_times_that_no_calendar_has_are_no_trouble(spot: Spot) -> None:
    path = write(spot.path / "file")
    os.utime(path, (2**33, 2**33))
    spot.see()
    write(spot.path / "next")
    spot.see()


def test_new_permissions_are_told_and_nothing_is_read_again(spot: Spot) -> None:
    path = write(spot.path / "file")
    spot.see()
    cursor = spot.nas.head
    path.chmod(0o600)
    spot.nas.wait(lambda: spot.nas.node(path).state.mode == 0o100600, "the mode is told")
    spot.see()
    assert list(spot.nas.feed(cursor)) == [spot.number("file")]


# What moves.


def test_a_renamed_file_keeps_its_id_and_its_hash(spot: Spot) -> None:
    write(spot.path / "before")
    spot.see()
    number, cursor = spot.number("before"), spot.nas.head
    (spot.path / "before").rename(spot.path / "after")
    spot.see()
    assert spot.number("after") == number
    assert list(spot.nas.feed(cursor)) == [number]


def test_a_renamed_directory_keeps_all_ids_and_is_one_change(spot: Spot) -> None:
    write(spot.path / "before" / "deep" / "file")
    spot.see()
    names = ["", "/deep", "/deep/file"]
    numbers, cursor = [spot.number(f"before{name}") for name in names], spot.nas.head
    (spot.path / "before").rename(spot.path / "after")
    spot.see()
    assert [spot.number(f"after{name}") for name in names] == numbers
    assert list(spot.nas.feed(cursor)) == numbers[:1]
    write(spot.path / "after" / "deep" / "file", b"other")
    write(spot.path / "after" / "deep" / "new")
    spot.see()


def test_a_file_renamed_over_an_old_one_takes_its_place(spot: Spot) -> None:
    write(spot.path / "one", b"1")
    spot.see()
    one = spot.number("one")
    write(spot.path / "two", b"22")
    spot.see()
    cursor = spot.nas.head
    (spot.path / "one").replace(spot.path / "two")  # the older one: no editor's save
    spot.see()
    assert spot.number("two") == one
    assert list(spot.nas.removals(cursor).values()) == [Reason.REPLACED]


def test_a_directory_that_goes_there_and_back_is_followed(spot: Spot) -> None:
    directory, other = spot.path / "a", spot.path / "b"
    write(directory / "file")
    spot.see()
    number = spot.number("a")
    directory.rename(other)
    other.rename(directory)
    spot.see()
    (directory / "new").mkdir()
    write(directory / "new" / "file")
    spot.see()
    assert spot.number("a") == number


@pytest.mark.parametrize("kind", ["files", "directories", "file and directory"])
def test_exchanged_places_exchange_ids(spot: Spot, kind: str) -> None:
    one, two = spot.path / "one", spot.path / "two"
    write(one / "file" if kind == "directories" else one, b"1")
    write(two if kind == "files" else two / "file", b"2")
    spot.see()
    before = spot.number("one"), spot.number("two")
    exchange(bytes(one), bytes(two))
    spot.see()
    assert (spot.number("two"), spot.number("one")) == before


def test_what_is_moved_out_is_removed_and_comes_back_as_new(spot: Spot) -> None:
    write(spot.path / "directory" / "file")
    spot.see()
    before = {spot.number("directory"), spot.number("directory/file")}
    cursor = spot.nas.head
    (spot.path / "directory").rename(spot.outside / "directory")
    spot.see()
    reasons = spot.nas.removals(cursor)
    assert set(reasons) == before
    assert set(reasons.values()) <= {Reason.MOVED_OUT, Reason.DELETED}  # a poll cannot tell
    (spot.outside / "directory").rename(spot.path / "again")
    spot.see()
    assert not before & {spot.number("again"), spot.number("again/file")}


def test_what_gets_an_excluded_name_leaves_the_feed_for_that_reason(spot: Spot) -> None:
    write(spot.path / "directory" / "file")
    write(spot.path / "single")
    spot.see()
    before = {spot.number(name) for name in ("directory", "directory/file", "single")}
    cursor = spot.nas.head
    (spot.path / "directory").rename(spot.path / "directory.__tmp__")
    (spot.path / "single").rename(spot.path / "single.__tmp__")
    spot.see()
    reasons = spot.nas.removals(cursor)
    assert set(reasons) == before
    assert set(reasons.values()) <= {Reason.EXCLUDED, Reason.DELETED}  # a poll cannot tell


def test_a_move_to_another_root_keeps_the_ids(spot: Spot) -> None:
    other = spot.nas.roots["two"] / spot.path.name
    write(spot.path / "directory" / "file")
    write(spot.path / "single")
    spot.see()
    names = ["directory", "directory/file", "single"]
    before = [spot.number(name) for name in names]
    other.mkdir()
    spot.nas.see(other)
    for name in ("directory", "single"):
        (spot.path / name).rename(other / name)
    spot.nas.see(spot.path, other)
    # A poll may come to the old root first, and finds only that something has gone.
    if spot.nas.config.backend == "inotify":
        assert [spot.nas.number(other / name) for name in names] == before
    write(other / "directory" / "new")
    spot.nas.see(spot.path, other)


# What goes.


def test_a_removed_tree_leaves_a_removal_for_each_of_its_nodes(spot: Spot) -> None:
    for number in range(20):
        write(spot.path / "tree" / str(number % 3) / f"{number}")
    spot.see()
    below = {
        n
        for path, n in spot.nas.ids().items()
        if b"/tree" in path and spot.path.name.encode() in path
    }
    cursor = spot.nas.head
    shutil.rmtree(spot.path / "tree")
    spot.see()
    assert set(spot.nas.removals(cursor)) == below
    assert len(below) == 24


def test_a_file_made_where_one_was_just_removed_is_another_one(spot: Spot) -> None:
    """Filesystems give the inode number of the one to the next."""
    for turn in range(5):
        old = write(spot.path / f"old-{turn}")
        spot.see()
        number, old_inode = spot.number(old.name), inode(old)
        old.unlink()
        new = write(spot.path / f"new-{turn}", b"something else")
        spot.see()
        assert spot.number(new.name) != number, f"inodes {old_inode} and {inode(new)}"


def test_a_file_becomes_a_directory_and_a_file_again(spot: Spot) -> None:
    path = write(spot.path / "thing")
    spot.see()
    first = spot.number("thing")
    path.unlink()
    write(path / "inside")
    spot.see()
    second = spot.number("thing")
    shutil.rmtree(path)
    write(path)
    spot.see()
    assert len({first, second, spot.number("thing")}) == 3


# Names that are left out, and names that are hard to say.


def test_a_name_that_becomes_excluded_is_removed_and_comes_back_as_new(spot: Spot) -> None:
    path = write(spot.path / "file")
    spot.see()
    number, cursor = spot.number("file"), spot.nas.head
    hidden = path.rename(spot.path / "file.__tmp__")
    spot.see()
    assert list(spot.nas.removals(cursor)) == [number]
    hidden.rename(path)
    spot.see()
    assert spot.number("file") != number


def test_nothing_below_an_excluded_directory_is_told(spot: Spot) -> None:
    cursor = spot.nas.head
    write(spot.path / "@eaDir" / "deep" / "file")
    write(spot.path / "seen")
    spot.see()
    assert spot.nas.updates(cursor) == {spot.number("seen")}
    (spot.path / "@eaDir").rename(spot.path / "named")
    spot.see()
    assert spot.number("named/deep/file")


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"x" * 255, " é".encode(), b"\x01"])
def test_any_name_that_a_filesystem_takes_is_told(spot: Spot, name: bytes) -> None:
    directory = Path(os.fsdecode(bytes(spot.path) + b"/" + name))
    write(directory / os.fsdecode(name))
    spot.see()
    assert spot.nas.node(directory).state.name == name
    directory.rename(spot.path / "plain")
    spot.see()


# What is no plain file.


def test_each_hard_link_is_a_node_and_all_follow_a_write_through_one(spot: Spot) -> None:
    first = write(spot.path / "first", b"1")
    (spot.path / "below").mkdir()
    spot.see()
    second, third = spot.path / "second", spot.path / "below" / "third"
    os.link(first, second)
    os.link(first, third)
    spot.see()
    numbers = [spot.nas.number(path) for path in (first, second, third)]
    assert len(set(numbers)) == 3
    write(second, b"2 and more")
    spot.see()
    first.unlink()
    spot.see()
    assert [spot.nas.number(path) for path in (second, third)] == numbers[1:]
    spot.nas.wait(lambda: spot.nas.node(third).state.nlink == 2, "the link count is told")


@pytest.mark.parametrize("below", [".", "new"])
@pytest.mark.parametrize("change", ["rename", "chmod"])
def test_what_was_written_through_a_link_that_nobody_saw_is_known_of_a_file_changed_since(
    spot: Spot, below: str, change: str
) -> None:
    """Its change time is that of the last change only, and the kernel names only the link."""
    file = write(spot.path / "a", b"123")
    spot.see()
    (spot.path / below).mkdir(exist_ok=True)
    link = spot.path / below / "link"
    os.link(file, link)
    before = link.stat()
    with link.open("r+b") as opened:
        opened.write(b"456")
        opened.flush()
        os.utime(opened.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
    link.unlink()
    if below != ".":
        link.parent.rmdir()
    if change == "rename":
        file.rename(spot.path / "b")
    else:
        file.chmod(0o600)
    spot.see()


def test_symbolic_links_are_leaves_wherever_they_point(spot: Spot) -> None:
    write(spot.outside / "secret")
    targets = {
        "self": "self",
        "loop": ".",
        "up": "..",
        "outside": str(spot.outside),
        "file": str(spot.outside / "secret"),
        "nowhere": "does/not/exist",
    }
    for name, target in targets.items():
        (spot.path / name).symlink_to(target)
    spot.see()
    states = {name: spot.nas.node(spot.path / name).state for name in targets}
    assert {name: os.fsdecode(state.target) for name, state in states.items()} == targets
    assert all(stat.S_ISLNK(state.mode) for state in states.values())
    write(spot.outside / "another")
    write(spot.path / "end")
    spot.see()


def test_a_link_to_a_directory_becomes_that_directory(spot: Spot) -> None:
    (spot.path / "thing").symlink_to(".")
    spot.see()
    (spot.path / "thing").unlink()
    write(spot.path / "thing" / "file")
    spot.see()


def test_fifos_and_sockets_are_leaves_that_nobody_opens(spot: Spot) -> None:
    fifo = spot.path / "fifo"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(spot.path, os.O_PATH)
        listener.bind(f"/proc/self/fd/{here}/socket")  # a socket's whole path must be short
        os.close(here)
        write(spot.path / "end")
        spot.see()
    assert spot.nas.node(fifo).state.content == Content.NONE
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):  # that is, nobody is reading
        os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


@pytest.mark.privileged
def test_devices_are_leaves(spot: Spot) -> None:
    try:
        os.mknod(spot.path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no devices can be made here")
    write(spot.path / "end")
    spot.see()
