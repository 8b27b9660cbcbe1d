"""New files in new directories: programs see them at once, the server soon, and nothing is lost."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import wait_until
from tests.tools.mounted import DEADLINE_SECONDS, Mounted, client, mounted, settle, unmounted

pytest.importorskip("pyfuse3", reason="the optional part for mounts is not installed")

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
        reason="needs root and /dev/fuse",
    ),
]

FILES = 200


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(tmp_path_factory.mktemp("mount")) as mount:
        yield mount


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Mounted]:
    with unmounted(tmp_path) as mount:
        yield mount


def fill(directory: Path, count: int = FILES) -> dict[str, bytes]:
    """Make files in a new directory; returns what they have."""
    directory.mkdir()
    made = {f"{number}": b"%d\n" % number * (number % 50) for number in range(count)}
    for name, data in made.items():
        (directory / name).write_bytes(data)
    return made


def read(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def facts(path: Path) -> tuple[int, ...]:
    found = path.lstat()
    return found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def test_what_is_new_is_seen_at_once_and_arrives(mount: Mounted) -> None:
    place = mount.path / "new"
    made = fill(place)
    assert read(place) == made
    settle(place)
    assert read(mount.disk / "new") == made
    wait_until(lambda: set(made) <= mount.server.names(), "all is in the feed")


def test_what_a_program_was_told_of_a_new_file_stays_true(mount: Mounted) -> None:
    place = mount.path / "told"
    place.mkdir()
    names = [place / "f", place / "g", place / "l", place / "d"]
    (place / "d").mkdir()
    (place / "f").write_bytes(b"12345")
    (place / "g").touch()
    (place / "g").chmod(0o604)
    os.utime(place / "g", ns=(1_000_000_001, 2_000_000_002))
    (place / "l").symlink_to("nowhere")
    before = {path: facts(path) for path in names}
    settle(place)
    theirs = mount.disk / "told"
    assert (theirs / "g").stat().st_mtime_ns == 2_000_000_002
    assert (theirs / "f").stat().st_mtime_ns == before[place / "f"][3]
    subprocess.run(["find", str(place), "-newermt", "2100-01-01"], check=True)
    for path in names[:2]:
        assert facts(path) == before[path]
    assert [(facts(path)[:2]) for path in names] == [before[path][:2] for path in names]
    assert os.readlink(theirs / "l") == "nowhere"  # noqa: PTH115 - as the shell does


def test_directories_that_are_renamed_take_with_them_what_has_not_arrived(mount: Mounted) -> None:
    place = mount.path / "moving"
    for turn in range(20):
        (place / f"a{turn}" / "b").mkdir(parents=True)
        (place / f"a{turn}" / "b" / "f").write_text("before")
        opened = (place / f"a{turn}" / "b" / "open").open("w")
        (place / f"a{turn}").rename(place / f"c{turn}")
        with opened:
            opened.write("after")
        (place / f"c{turn}" / "b" / "g").write_text("after")
    for turn in range(20):
        settle(place / f"c{turn}" / "b")
        assert read(mount.disk / f"moving/c{turn}/b") == {
            "f": b"before",
            "g": b"after",
            "open": b"after",
        }


def test_a_new_file_is_replaced_linked_moved_and_removed(mount: Mounted) -> None:
    place = mount.path / "changing"
    place.mkdir()
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    (place / "a").rename(place / "b")
    (place / "c").write_text("c")
    os.link(place / "c", place / "d")
    (place / "e").write_text("e")
    (place / "e").unlink()
    (place / "f").write_bytes(b"0123456789")
    os.truncate(place / "f", 4)
    with (place / "f").open("ab") as file:
        file.write(b"end")
    (place / "g").write_text("g")
    os.setxattr(place / "g", "user.a", b"x")
    expected = {"b": b"a", "c": b"c", "d": b"c", "f": b"0123end", "g": b"g"}
    assert read(place) == expected
    settle(place)
    assert read(mount.disk / "changing") == expected
    assert (mount.disk / "changing/c").stat().st_nlink == 2


def test_a_file_that_outgrows_the_wait_arrives_whole(mount: Mounted) -> None:
    place = mount.path / "large"
    place.mkdir()
    data = os.urandom(3 * 2**20 + 5)
    with (place / "f").open("wb", buffering=0) as file:
        for start in range(0, len(data), 5_000):
            file.write(data[start : start + 5_000])
        file.seek(0)
        file.write(data[:10])
    with (place / "holes").open("wb", buffering=0) as file:
        file.seek(100_000)
        file.write(b"x")
        file.truncate(200_000)
        file.seek(150_000)
        file.write(b"y")
    holes = bytes(100_000) + b"x" + bytes(49_999) + b"y" + bytes(49_999)
    assert read(place) == {"f": data, "holes": holes}
    settle(place)
    assert read(mount.disk / "large") == {"f": data, "holes": holes}


def test_what_others_make_in_a_new_directory_is_respected(mount: Mounted) -> None:
    place, theirs = mount.path / "shared", mount.disk / "shared"
    place.mkdir()
    (place / "mine").write_text("mine")
    settle(place)
    (theirs / "lock").write_text("theirs")
    wait_until((place / "lock").exists, "it is seen")
    with pytest.raises(FileExistsError):
        os.open(place / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (place / "lock").read_text() == "theirs"


def test_a_directory_that_others_move_is_no_longer_known_for_certain(mount: Mounted) -> None:
    place, theirs = mount.path / "before", mount.disk / "before"
    place.mkdir()
    (place / "mine").write_text("mine")
    settle(place)
    assert not (place / "lock").exists()
    theirs.rename(mount.disk / "after")
    (mount.disk / "after/lock").write_text("theirs")
    moved = mount.path / "after"
    wait_until(lambda: moved.exists() and not place.exists(), "it is seen")
    with pytest.raises(FileExistsError):
        os.open(moved / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (moved / "lock").read_text() == "theirs"


def test_many_large_files_do_not_pile_up(mount: Mounted) -> None:
    place = mount.path / "many"
    place.mkdir()
    data = os.urandom(2**18)
    for number in range(160):
        (place / f"{number}").write_bytes(data)
    settle(place)
    assert {path.read_bytes() for path in (mount.disk / "many").iterdir()} == {data}
    assert len(list((mount.disk / "many").iterdir())) == 160


def test_who_is_late_with_an_exclusive_file_hears_of_it(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        place = served.path / "d"
        fill(place, 1)
        settle(place)
        served.server.pause()
        (served.disk / "d/lock").write_text("theirs")
        with (place / "lock").open("x") as file:
            file.write("mine")
        served.server.resume()
        with pytest.raises(FileExistsError):
            settle(place)
        wait_until((place / "lock").exists, "theirs is seen")
        assert (place / "lock").read_text() == "theirs"
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "d/lock could not be written" in said


def test_a_server_that_is_killed_gets_everything_when_it_comes_back(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        place = served.path / "d"
        place.mkdir()
        made = {}
        for number in range(2 * FILES):
            if number == FILES:
                served.server.kill()
            data = b"%d" % number * 10
            try:
                (place / f"{number}").write_bytes(data)
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017 - some are told, others wait
                break
            made[f"{number}"] = data
        with pytest.raises(OSError, match="Input/output"):
            (served.path / "elsewhere").write_text("x")
        served.server.start()
        settle(place)
        there = read(served.disk / "d")
        assert {name: there.get(name) for name in made} == made
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said


def test_what_others_make_while_the_server_is_dead_is_never_overwritten(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        place, theirs = served.path / "d", served.disk / "d"
        fill(place, 1)
        settle(place)
        served.server.pause()  # requests reach it, and it does nothing
        (place / "mine").write_text("mine")
        (place / "contested").write_text("mine")
        served.server.kill()
        (theirs / "contested").write_text("theirs, later")
        served.server.start()
        with pytest.raises(FileExistsError):
            settle(place)
        wait_until((theirs / "mine").exists, "what was not contested arrives")
        assert (theirs / "contested").read_text() == "theirs, later"
        wait_until(lambda: (place / "contested").read_text() == "theirs, later", "it is seen")
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1
    assert "d/contested could not be written" in said


def test_a_mount_that_is_killed_keeps_what_was_synced_and_no_halves(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        place = served.path / "d"
        made = fill(place)
        settle(place)
        late = fill(served.path / "late")
        process.kill()
        process.communicate(timeout=DEADLINE_SECONDS)
    assert read(served.disk / "d") == made
    there = read(served.disk / "late") if (served.disk / "late").exists() else {}
    assert there.items() <= late.items()


def test_a_mount_that_ends_has_sent_everything(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        made = fill(served.path / "d")
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, read(served.disk / "d")) == (0, made), said


def test_who_wants_to_can_wait_for_each_file(tmp_path: Path) -> None:
    with mounted(tmp_path, "--wait") as mount:
        (mount.path / "d").mkdir()
        for number in range(20):
            (mount.path / f"d/{number}").write_text(f"{number}")
            assert (mount.disk / f"d/{number}").read_text() == f"{number}"


def test_what_is_written_never_ends_up_in_a_file_that_took_the_place(mount: Mounted) -> None:
    place, theirs = mount.path / "replaced", mount.disk / "replaced"
    place.mkdir()
    (place / "f").write_text("mine")
    settle(place)
    with (place / "f").open("r+b", buffering=0) as file:
        (theirs / "new").write_text("theirs, later")
        (theirs / "new").rename(theirs / "f")
        file.write(b"x")
        with pytest.raises(OSError, match="Stale"):
            os.fsync(file.fileno())
    assert (theirs / "f").read_text() == "theirs, later"


def test_a_tree_is_removed_and_its_names_are_free_at_once(mount: Mounted) -> None:
    place = mount.path / "tree"
    for turn in range(3):
        place.mkdir()
        for name in ("a", "b"):
            fill(place / name, 60)
        os.link(place / "a/1", place / "b/link")
        settle(place / "a")
        for name in ("1", "2", "3"):
            (place / "a" / name).unlink()
            assert not (place / "a" / name).exists()
            (place / "a" / name).write_text(f"new {turn}")
        assert (place / "b/link").read_bytes() == b"1\n"
        settle(place / "a")
        assert (mount.disk / "tree/a/2").read_text() == f"new {turn}"
        (place / "a/4").unlink()
        (place / "a/5").rename(place / "a/4")
        (place / "a/6").unlink()
        os.link(place / "a/4", place / "a/6")
        assert (place / "a/6").read_bytes() == b"5\n" * 5
        subprocess.run(["rm", "-r", str(place)], check=True)
        assert not place.exists()
        assert not (mount.disk / "tree").exists()  # the removal of a directory waits for the rest


def test_a_tree_of_others_is_removed(mount: Mounted) -> None:
    theirs = mount.disk / "theirs"
    fill(theirs, 50)
    wait_until((mount.path / "theirs/49").exists, "it is seen")
    subprocess.run(["rm", "-r", str(mount.path / "theirs")], check=True)
    assert not theirs.exists()


def test_what_is_removed_while_the_server_is_dead_goes_when_it_is_back(served: Mounted) -> None:
    with client(served.url, served.path) as process:
        place = served.path / "d"
        made = fill(place)
        settle(place)
        removed = set()
        for number, name in enumerate(made):
            if number == FILES // 2:
                served.server.kill()
            try:
                (place / name).unlink()
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017 - some are told, others wait
                break
            removed.add(name)
        served.server.start()
        theirs = served.disk / "d"
        wait_until(lambda: not any((theirs / name).exists() for name in removed), "they go")
        settle(place)
        there = read(served.disk / "d")
        assert there.items() <= made.items()
        assert len(there) >= FILES // 2 - 1  # what one was told of may have happened, too
        process.terminate()
        _, said = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 0, said
