"""After a barrier everything that was done on the disk before it is in the tree."""

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.log import Log
from projections.replay import FOLDS
from tests.convergence.disk import picture
from tests.serving import wait_until
from tests.watcher.mounting import mounted, privileged, run
from tests.watcher.nas import BACKENDS, Nas
from tests.watcher.test_observer import Bench
from watcher import cookie
from watcher.backend import Sign
from watcher.barrier import NotSyncedError
from watcher.cookie import remove_leftovers
from watcher.follower import LOOKS_MAX

DEADLINE_SECONDS = 60.0


def sync(nas: Nas) -> set[str]:
    """Wait for a barrier of every root; return how each was reached."""
    barriers = nas.system.sync()
    return {each.result(DEADLINE_SECONDS) for each in barriers.values()}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


def how(nas: Nas) -> str:
    return "compared" if nas.config.backend == "poll" else "notified"


def nas_of(base: Path, root: Path, **config: Any) -> Iterator[Nas]:  # noqa: ANN401 - as of Nas
    nas = Nas(base, {"media": root}, **config)
    nas.start()
    nas.wait(lambda: all(status.scans for status in nas.statuses()), "it was scanned")
    yield nas
    nas.stop()


@pytest.fixture(params=BACKENDS)
def nas(tmp_path: Path, media: Path, request: pytest.FixtureRequest) -> Iterator[Nas]:
    yield from nas_of(tmp_path, media, backend=request.param)


def assert_same(nas: Nas, media: Path) -> None:
    """Compare names and sizes, at this moment."""
    with nas.tree() as tree:
        (root,) = tree.children(0)
        numbers = [root.number, *tree.descendants(root.number)]
        nodes = {tree.path(number): tree.node(number) for number in numbers}
    assert set(nodes) == {*picture([media]), bytes(media)}
    for path, node in nodes.items():
        assert path is not None
        assert node is not None
        found = os.lstat(path)
        assert node.state.mode == found.st_mode
        assert not node.state.is_file or node.state.size == found.st_size


def test_what_was_written_is_there(nas: Nas, media: Path) -> None:
    (media / "a").write_text("a")
    assert sync(nas) == {how(nas)}
    assert_same(nas, media)


def test_a_tree_that_appears_at_once_is_there_whole(nas: Nas, media: Path) -> None:
    for depth in range(1, 40):
        (media.joinpath(*map(str, range(depth)))).mkdir()
        (media.joinpath(*map(str, range(depth)), "file")).touch()
    sync(nas)
    assert_same(nas, media)


def test_what_moved_out_is_gone(nas: Nas, media: Path, tmp_path: Path) -> None:
    shutil.copytree("tests/watcher", media / "t", ignore=shutil.ignore_patterns("__pycache__"))
    sync(nas)
    assert_same(nas, media)
    (media / "t").rename(tmp_path / "elsewhere")
    sync(nas)
    assert_same(nas, media)


def test_what_is_still_being_written_is_there_as_far_as_it_is(nas: Nas, media: Path) -> None:
    with (media / "log").open("wb", buffering=0) as file:
        for _ in range(20):
            file.write(b"x")
            sync(nas)
            assert_same(nas, media)


def test_any_mixture_of_changes_is_there(nas: Nas, media: Path, tmp_path: Path) -> None:
    dice = random.Random(7)  # noqa: S311 - a fixed sequence
    outside = tmp_path / "outside"
    outside.mkdir()
    for _ in range(25):
        for _ in range(dice.randrange(1, 40)):
            change(media, outside, dice)
        sync(nas)
        assert_same(nas, media)


def change(media: Path, outside: Path, dice: random.Random) -> None:
    """Change something in a directory of the tests, or move it in or out."""
    directories = [media, *(path for path in media.rglob("*") if path.is_dir())]
    where = dice.choice(directories)
    entries = sorted(where.iterdir())
    name = where / f"{dice.randrange(30)}"
    match dice.randrange(6):
        case 0 | 1 if not name.exists():
            name.mkdir()
        case 2 if not name.is_dir():
            name.write_bytes(b"x" * dice.randrange(9))
        case 3 if entries:
            move(dice.choice(entries), dice.choice(directories) / f"{dice.randrange(30)}")
        case 4 if entries:
            move(dice.choice(entries), outside / f"{len(list(outside.iterdir()))}")
        case 5:
            for entry in sorted(outside.iterdir())[:1]:
                move(entry, name)
        case _:
            pass


def move(path: Path, to: Path) -> None:
    if not to.exists() and path not in [to, *to.parents]:
        path.rename(to)


def test_no_trace_of_a_cookie_is_left(nas: Nas, media: Path) -> None:
    before = nas.head
    for _ in range(10):
        sync(nas)
    assert not any(media.iterdir())
    assert nas.head == before


def test_many_at_once_are_all_reached(nas: Nas, media: Path) -> None:
    (media / "a").touch()
    barriers = [done for _ in range(50) for done in nas.system.sync().values()]
    for done in barriers:
        assert done.result(DEADLINE_SECONDS) == how(nas)
    assert_same(nas, media)


def test_one_that_nobody_waits_for_is_forgotten(nas: Nas, media: Path) -> None:
    (done,) = nas.system.sync().values()
    done.cancel()
    (media / "a").touch()
    sync(nas)
    assert_same(nas, media)


def test_a_root_that_is_polled_is_compared(tmp_path: Path, media: Path) -> None:
    for nas in nas_of(tmp_path, media, backend="poll", poll_interval=3600.0):
        (media / "a").write_text("a")
        assert sync(nas) == {"compared"}
        assert_same(nas, media)


@privileged
def test_a_root_that_cannot_be_written_is_compared(tmp_path: Path, media: Path) -> None:
    point = tmp_path / "point"
    point.mkdir()
    with mounted("--bind", media, point=point):
        run("mount", "-o", "remount,bind,ro", point)
        for nas in nas_of(tmp_path, point):
            (media / "a").write_text("a")
            assert sync(nas) == {"compared"}
            assert_same(nas, point)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    log = Log(str(tmp_path / "log.db"), FOLDS)
    bench = Bench(tmp_path / "root", log)
    yield bench
    bench.observer.stop()
    bench.observer.join()
    log.close()


def test_lost_hints_mean_a_comparison(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    (bench.path / "a").touch()
    done = bench.observer.sync()  # the fake backend does not notice the cookie
    wait_until(lambda: not bench.observer._barriers.asked, "the cookie is made")
    assert not done.done()
    bench.backends[-1].overflow()
    assert done.result(DEADLINE_SECONDS) == "compared"
    assert bench.names() == {b"a"}
    assert bench.observer.status.scans == 2


def test_more_than_is_looked_at_together_is_there_whole(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    done, number = bench.observer.sync(), bench.observer.status.number
    barriers, backend = bench.observer._barriers, bench.backends[-1]
    wait_until(lambda: bool(barriers._running), "the cookie is made")
    names = {b"%d" % number for number in range(LOOKS_MAX + 500)}
    with backend._changed:  # all of them in one read, and the cookie
        for name in sorted(names):
            (bench.path / os.fsdecode(name)).touch()
            backend.notice(number, name, Sign.CREATED)
        assert barriers._running[0].place is not None
        backend.notice(*barriers._running[0].place, Sign.CREATED)
    assert done.result(DEADLINE_SECONDS) == "notified"
    assert bench.names() == names


def test_a_comparison_that_is_owed_is_waited_for(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    for scans in (1, 2, 3):  # those that come again are put off
        bench.wait("online", scans)
        (bench.path / f"{scans}").touch()
        bench.backends[-1].overflow()
    done = bench.observer.sync()
    barriers = bench.observer._barriers
    wait_until(lambda: bool(barriers._running), "the cookie is made")
    if (place := barriers._running[0].place) is not None:
        bench.backends[-1].notice(*place, Sign.CREATED)
    done.result(DEADLINE_SECONDS)
    assert bench.names() == {b"1", b"2", b"3"}


def test_a_root_that_is_away_says_so(bench: Bench) -> None:
    bench.observer.start()
    bench.wait("offline")
    with pytest.raises(NotSyncedError, match="offline: cannot be opened"):
        bench.observer.sync().result(DEADLINE_SECONDS)


def test_a_root_that_goes_away_says_so(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    done = bench.observer.sync()
    bench.path.rmdir()
    with pytest.raises(NotSyncedError, match="offline"):
        done.result(DEADLINE_SECONDS)


def test_the_end_of_the_server_ends_it(bench: Bench) -> None:
    bench.path.mkdir()
    bench.observer.start()
    bench.wait("online", scans=1)
    done = bench.observer.sync()
    bench.observer.stop()
    with pytest.raises(NotSyncedError, match="the server stops"):
        done.result(DEADLINE_SECONDS)


def test_leftovers_of_a_killed_server_are_removed_and_nothing_else(tmp_path: Path) -> None:
    leftover = tmp_path / f".nasfeed-sync-{'0' * 32}"
    leftover.touch()
    kept = [f".nasfeed-sync-{'1' * 32}", f".nasfeed-sync-{'2' * 31}", ".nasfeed-sync-", "a"]
    for name in kept:
        (tmp_path / name).write_text("not empty" if "1" in name else "")
    (tmp_path / f".nasfeed-sync-{'3' * 32}").mkdir()
    (tmp_path / f".nasfeed-sync-{'4' * 32}").symlink_to("a")
    fd = os.open(tmp_path, os.O_RDONLY)
    remove_leftovers(fd)
    os.close(fd)
    left = {f".nasfeed-sync-{'3' * 32}", f".nasfeed-sync-{'4' * 32}"}
    assert {path.name for path in tmp_path.iterdir()} == {*kept, *left}


def test_a_leftover_is_gone_once_the_root_is_followed(tmp_path: Path, media: Path) -> None:
    (media / f".nasfeed-sync-{'a' * 32}").touch()
    for nas in nas_of(tmp_path, media):
        assert not any(media.iterdir())
        assert len(nas.table()) == 1


def test_cookies_have_names_that_are_excluded(tmp_path: Path, nas: Nas) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    name = cookie.make_cookie(fd)
    os.close(fd)
    assert cookie.PATTERN.fullmatch(name)
    (nas.roots["media"] / os.fsdecode(name)).write_text("something")
    sync(nas)
    assert len(nas.table()) == 1
