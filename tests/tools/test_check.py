import json
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from eventlog.clock import SystemClock
from eventlog.connection import open_writer
from tests.serving import serving
from tests.tools.commanded import commanded
from tools import check, cli, control, watching
from tools.compose import System
from tools.config import Config, Source, server_files
from tools.control import Arguments, Report
from tools.roots import Root

Capture = pytest.CaptureFixture[str]

DEADLINE_SECONDS = 60.0
NO_PAUSE: check.Pause = lambda _: None  # noqa: E731 - a constant


class Place:
    """A directory that was once observed to its end, and the log of it."""

    def __init__(self, top: Path) -> None:
        self.root = top / "media"
        self.database = top / "state" / "log.db"
        (self.root / "sub").mkdir(parents=True)
        (self.root / "a.txt").write_text("a")
        (self.root / "sub" / "b").write_text("b")
        (self.root / "link").symlink_to("nowhere")
        os.mkfifo(self.root / "pipe")

    @property
    def source(self) -> Source:
        return Source(str(self.database), ("*.tmp",))

    def observe(self) -> None:
        config = Config(
            roots=(Root("media", str(self.root)),),
            database=str(self.database),
            exclude=("*.tmp",),
            metadata_workers=1,
        )
        system = System(config, SystemClock())
        system.start()
        try:
            wait_until(lambda: all(observer.status.scans for observer in system.observers))
            wait_until(lambda: system.describer.idle)
        finally:
            system.stop()

    def examine(self) -> check.Report:
        return check.examine(self.source, NO_PAUSE)


def wait_until(true: Callable[[], bool]) -> None:
    clock, pause = SystemClock(), threading.Event()
    deadline = clock.monotonic() + DEADLINE_SECONDS
    while not true():
        assert clock.monotonic() < deadline
        pause.wait(0.01)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.observe()
    return made


def test_all_is_well_after_a_scan(place: Place, capsys: Capture) -> None:
    assert cli.main(["check", "--db", str(place.database)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "derived tables: exactly what the log says",
        "disk: 5 entries, all as in the tree",
    ]


@pytest.mark.parametrize(
    ("change", "path", "problem"),
    [
        (lambda root: (root / "new").write_text(""), "new", "on the disk, but not in the tree"),
        (lambda root: (root / "a.txt").unlink(), "a.txt", "in the tree, but not on the disk"),
        (lambda root: (root / "a.txt").write_text("abc"), "a.txt", "size is 3 on the disk, 1 in"),
        (lambda root: (root / "sub").chmod(0o700), "sub", "mode is"),
        (lambda root: (root / "sub" / "c").mkdir(), "sub/c", "on the disk, but not in the tree"),
    ],
)
def test_every_difference_is_found(
    place: Place, change: Callable[[Path], object], path: str, problem: str
) -> None:
    change(place.root)
    report = place.examine()
    assert not report.ok
    assert len(report.disk) == 1
    assert report.disk[0].startswith(f"{place.root}/{path}: ")
    assert problem in report.disk[0]


def test_a_rename_is_two_differences(place: Place, capsys: Capture) -> None:
    (place.root / "sub").rename(place.root / "bus")
    assert cli.main(["check", "--db", str(place.database)]) == 1
    out = capsys.readouterr().out
    assert "disk: 2 problems" in out
    assert "no server is running: its next start records what has changed since" in out


def test_the_next_start_makes_it_well(place: Place) -> None:
    (place.root / "sub").rename(place.root / "bus")
    (place.root / "a.txt").write_text("abc")
    place.observe()
    assert place.examine().ok


def test_excluded_names_are_no_difference(place: Place) -> None:
    (place.root / "x.tmp").write_text("")
    (place.root / ".DS_Store").write_text("")
    assert place.examine().ok


def test_the_servers_own_files_are_no_difference(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.database = place.root / "sub" / "log.db"
    place.observe()
    assert place.examine().ok


def test_an_absent_root_is_said_and_is_no_difference(place: Place, capsys: Capture) -> None:
    place.root.rename(place.root.with_name("elsewhere"))
    assert cli.main(["check", "--db", str(place.database), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["skipped"] == ["root media: cannot be opened: No such file or directory"]
    place.root.with_name("elsewhere").rename(place.root)


def test_an_empty_directory_in_its_place_is_no_difference(place: Place) -> None:
    place.root.rename(place.root.with_name("elsewhere"))
    place.root.mkdir()
    report = place.examine()
    assert report.ok
    assert "another directory is there" in report.skipped[0]
    place.root.rmdir()
    place.root.with_name("elsewhere").rename(place.root)


def test_a_wrong_row_is_found(place: Place, capsys: Capture) -> None:
    connection = open_writer(str(place.database))
    connection.execute("update nodes set ino = 1 where number = 2")
    connection.close()
    assert cli.main(["check", "--db", str(place.database), "--no-disk"]) == 1
    out = capsys.readouterr().out
    assert "derived tables: 1 problems" in out
    assert "run nasfeed replay to make the derived tables anew" in out
    assert "disk" not in out


def test_a_broken_record_is_found(place: Place, capsys: Capture) -> None:
    connection = open_writer(str(place.database))
    connection.execute("update events set record = x'00' where position = 3")
    connection.close()
    assert cli.main(["check", "--db", str(place.database)]) == 1
    assert "position 3: record cannot be decoded" in capsys.readouterr().out


def test_what_a_running_server_records_in_time_is_no_difference(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "is_running", lambda _: True)
    (place.root / "new").write_text("")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        place.observe()

    assert check.examine(place.source, pause).ok
    assert pauses == [check.PATIENCE_SECONDS[0]]


def test_what_a_running_server_never_records_is_one(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "is_running", lambda _: True)
    (place.root / "new").write_text("")
    (place.root / "a.txt").unlink()
    pauses: list[float] = []
    report = check.examine(place.source, pauses.append)
    assert len(report.disk) == 2
    assert tuple(pauses) == check.PATIENCE_SECONDS


class Served:
    """A server that only says what it leaves out and whether it is busy."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.busy = 0
        self.exclude = ["*.tmp"]
        self.asked = 0

    def context(self) -> AbstractContextManager[None]:
        return commanded(self.place.database, {"watching": self._watching})

    async def _watching(self, _: Arguments, __: Report) -> dict[str, Any]:
        self.asked += 1
        self.busy -= 1
        files = server_files(str(self.place.database), None)
        return {"exclude": self.exclude, "files": files, "busy": self.busy > 0}


def test_a_busy_server_is_waited_for(place: Place) -> None:
    served = Served(place)
    served.busy = 30
    (place.root / "new").write_text("")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            place.observe()

    with served.context():
        report = check.examine(place.source, pause)
    assert report.running
    assert (report.ok, len(pauses)) == (True, 20)


def test_a_server_that_is_busy_for_ever_is_not_waited_for_for_ever(place: Place) -> None:
    served = Served(place)
    served.busy = 10**6
    (place.root / "new").write_text("")
    pauses: list[float] = []
    with served.context():
        assert len(check.examine(place.source, pauses.append).disk) == 1
    assert sum(pauses) < check.PATIENCE_MAX_SECONDS + max(check.PATIENCE_SECONDS)


def test_while_something_comes_right_the_rest_is_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a large `rm -rf`, which the server takes in bit by bit."""
    monkeypatch.setattr(control, "is_running", lambda _: True)
    names = [place.root / str(number) for number in range(8)]
    for name in names:
        name.write_text("")
    place.observe()
    for name in names:
        name.unlink()
    left = list(names)

    def pause(_: float) -> None:
        if left:
            kept = left.pop(0)
            remaining = [name for name in left if not name.exists()]
            for name in remaining:
                name.write_text("")
            place.observe()
            for name in remaining:
                name.unlink()
            assert not kept.exists()

    assert check.examine(place.source, pause).ok
    assert left == []


def test_more_changes_on_their_way_than_are_kept_do_not_end_the_comparison(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "PROBLEMS_MAX", 3)
    monkeypatch.setattr(control, "is_running", lambda _: True)
    for number in range(10):
        (place.root / str(number)).write_text("")
    report = check.examine(place.source, lambda _: place.observe())
    assert report.ok
    assert report.entries == 15


def test_a_disk_that_changes_too_fast_is_said_not_to_be_compared(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "PROBLEMS_MAX", 1)
    monkeypatch.setattr(check, "WALKS_MAX", 3)
    monkeypatch.setattr(control, "is_running", lambda _: True)
    busy = place.root / "a.txt"

    def pause(_: float) -> None:
        with busy.open("a") as file:
            file.write("more")

    pause(0)
    report = check.examine(place.source, pause)
    assert report.ok
    assert "changes faster than it can be compared" in report.skipped[0]


def test_the_excludes_are_those_of_the_running_server(place: Place) -> None:
    (place.root / "x.tmp").write_text("")
    source = Source(str(place.database))  # as `--db FILE` gives it
    assert len(check.examine(source, NO_PAUSE).disk) == 1
    with Served(place).context():
        assert check.examine(source, NO_PAUSE).ok


def test_a_server_says_what_it_leaves_out(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (place.root / "x.tmp").write_text("")
    config = tmp_path / "config.yaml"
    config.write_text(f"watches: {{media: {place.root}}}\nexclude: ['*.tmp']\nport: 0\n")
    with serving({}, place.database, "--config", str(config)):
        said = watching.ask(str(place.database))
        assert said is not None
        assert said.exclude == ["*.tmp"]
        assert str(place.database) in said.files
        assert cli.main(["check", "--db", str(place.database)]) == 0
    assert watching.ask(str(place.database)) is None


def test_what_keeps_changing_is_no_difference(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "is_running", lambda _: True)
    busy = place.root / "busy"
    busy.write_text("")

    def pause(_: float) -> None:
        with busy.open("a") as file:
            file.write("more")

    assert check.examine(place.source, pause).ok


def test_a_directory_that_went_away_with_its_problems_is_no_difference(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "is_running", lambda _: True)
    (place.root / "sub" / "new").write_text("")

    def pause(_: float) -> None:
        (place.root / "sub").rename(place.root / "bus")
        place.observe()

    assert check.examine(place.source, pause).ok
