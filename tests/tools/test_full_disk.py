"""A full disk: nothing is lost, reading goes on, and compaction makes space by itself."""

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.ballast import BYTES, Ballast
from eventlog.compaction import Compactor, Options
from eventlog.connection import open_reader
from eventlog.errors import LogFullError
from eventlog.events import Modified
from eventlog.log import Draft, Log
from projections.changes import read_page
from projections.replay import FOLDS
from tests.eventlog.helpers import FakeClock, assert_sound, created, file_state, files, root_state
from tests.serving import running, wait_until
from tests.small_disk import fill, mounted
from tools import cli
from tools.full_disk import AGAIN_SECONDS, FullDisk
from tools.opening import open_log

pytestmark = pytest.mark.privileged

GO_ON = threading.Event()
BALLAST = 2 * 2**20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", 20) as folder:
        yield folder


class Server:
    """A log on a small disk, and what looks after it."""

    def __init__(self, folder: Path, window_us: int = 0, ballast: int = BALLAST) -> None:
        self.clock = FakeClock()
        self.path = folder / "log.db"
        self.log = Log(str(self.path), FOLDS, clock=self.clock)
        compactor = Compactor(self.log, Options(window_us), self.clock)
        self.ballast = Ballast(str(self.path), ballast)
        self.keeper = FullDisk(self.log, compactor, self.ballast, self.clock)
        self.told: dict[int, int] = {}
        self.log.append([created(root_state()), *files(100)])

    def tend(self) -> None:
        self.clock.us += 1
        self.clock.seconds += 5
        self.keeper.tend(GO_ON)

    def change(self, size: int) -> None:
        """Change every file, and remember what was told."""
        drafts = [
            Draft(node, Modified("", file_state(b"f%d" % (node - 2), ino=998 + node, size=size)))
            for node in range(2, 102)
        ]
        first = self.log.append(drafts)
        self.told |= dict(enumerate(range(2, 102), first))

    def change_until_full(self) -> None:
        with pytest.raises(LogFullError):
            self._change_for_ever()

    def _change_for_ever(self) -> None:
        size = len(self.told)
        while True:
            size += 1
            self.change(size)

    def nodes(self) -> int:
        with closing(open_reader(str(self.path))) as reader:
            return len(read_page(reader, 0, 1_000).rows)

    def close(self) -> None:
        self.log.close()
        assert self.log.failure is None
        assert_sound(self.path)
        with closing(open_reader(str(self.path))) as reader:
            rows = read_page(reader, 0, 1_000).rows
        last = {node: position for position, node in self.told.items()}
        assert {node: position for position, node, _ in rows if node in last} == last


def test_a_full_disk_is_tidied_and_goes_on_without_a_hand(small: Path) -> None:
    server = Server(small)
    server.tend()
    assert server.ballast.is_there
    for _ in range(3):
        server.clock.seconds += AGAIN_SECONDS
        server.change_until_full()
        assert server.log.full
        assert "the disk is full: reading goes on" in server.keeper.warnings[0]
        assert server.nodes() == 101
        server.tend()
        assert server.ballast.is_there
        server.change(7)
        assert (server.log.full, server.keeper.warnings) == (False, [])
    server.close()


def test_without_the_ballast_nothing_could_be_deleted(small: Path) -> None:
    """Why there is one."""
    (small / "others").write_bytes(bytes(8 * 2**20))
    server = Server(small)
    server.change_until_full()
    fill(small / "others")
    with pytest.raises(LogFullError):
        server.tend()
    (small / "others").unlink()
    server.tend()
    server.close()


def test_a_disk_without_room_for_the_ballast_is_told_before_it_is_full(small: Path) -> None:
    fill(small / "others")
    os.truncate(small / "others", (small / "others").stat().st_size - BALLAST)
    server = Server(small)
    server.tend()
    assert not server.ballast.is_there
    assert "there is no room to keep 2 MiB back" in server.keeper.warnings[0]
    (small / "others").unlink()
    server.tend()
    assert server.keeper.warnings == []
    server.close()


def test_without_a_server_the_command_makes_space(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with mounted(tmp_path / "disk", 2 * BYTES // 2**20 + 2) as disk:
        server = Server(disk, ballast=BYTES)
        server.tend()
        server.change(1)
        server.close()
        fill(disk / "others")
        words = ["compact", "--db", str(server.path), "--history-days", "0"]
        kept_back = Path(f"{server.path}.ballast")
        with kept_back.open("r+b") as file:
            file.truncate(0)
            fill(disk / "more")
            assert cli.main(words) == 1
            (disk / "more").unlink()
        server.ballast.make()
        assert server.ballast.is_there
        fill(disk / "rest")
        assert cli.main(words) == 0
        assert "100 events dropped" in capsys.readouterr().out
        assert server.ballast.is_there
        (disk / "others").unlink()
        assert_sound(server.path)


def test_with_others_filling_the_disk_the_ballast_is_enough(small: Path) -> None:
    server = Server(small)
    server.tend()
    server.change_until_full()
    fill(small / "others")
    server.tend()
    assert server.ballast.is_there
    server.change(7)
    server.close()


def test_when_nothing_can_be_dropped_it_says_so_until_someone_makes_space(small: Path) -> None:
    server = Server(small, window_us=10**12)
    server.tend()
    server.change_until_full()
    fill(small / "others")
    server.tend()
    assert server.ballast.is_there
    server.change_until_full()
    server.tend()
    assert server.keeper.warnings != []
    (small / "others").unlink()
    (small / "log.db.ballast").unlink()
    head = server.log.head
    server.tend()
    server.change(3)
    assert server.log.head == head + 100
    server.tend()
    assert not any("reading goes on" in warning for warning in server.keeper.warnings)
    server.close()


def stopped_on_a_full_disk(server: Server) -> None:
    """End it; what SQLite needs while it is open is not there any more, and cannot be made."""
    server.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{server.path}{suffix}").unlink(missing_ok=True)  # the readers of the test left them
    fill(server.path.parent / "others")


def test_a_log_with_a_ballast_can_be_opened_on_a_full_disk(small: Path) -> None:
    """Else a server that is started there would give up, and be left to a hand."""
    server = Server(small, ballast=8 * 2**20)
    server.tend()
    assert server.ballast.is_there
    stopped_on_a_full_disk(server)
    with pytest.raises(LogFullError):
        Log(str(server.path), FOLDS)
    log = open_log(str(server.path), FOLDS, server.clock, server.ballast)
    assert log.head == 101
    server.log, compactor = log, Compactor(log, Options(0), server.clock)
    server.keeper = FullDisk(log, compactor, server.ballast, server.clock)
    assert server.ballast.is_there
    server.change_until_full()
    server.tend()
    assert server.ballast.is_there
    (small / "others").unlink()
    server.tend()
    server.change(7)
    server.close()


def test_without_one_it_cannot(small: Path) -> None:
    server = Server(small)
    stopped_on_a_full_disk(server)
    for size in (0, 1000):
        (small / "log.db.ballast").write_bytes(b"")
        os.truncate(small / "log.db.ballast", size)
        with pytest.raises(LogFullError):
            open_log(str(server.path), FOLDS, server.clock, server.ballast)
    (small / "log.db.ballast").unlink()
    with pytest.raises(LogFullError):
        open_log(str(server.path), FOLDS, server.clock, server.ballast)


def test_while_space_is_made_nobody_else_takes_it(small: Path) -> None:
    server = Server(small)
    server.log.reserved = True
    with pytest.raises(LogFullError, match="the disk is full; making space"):
        server.change(1)
    assert server.keeper.warnings != []
    assert server.log.submit(lambda tx: tx.position, frees=True).result() == 101
    server.log.reserved = False
    server.change(1)
    server.close()


def test_a_disk_that_is_too_small_has_no_ballast(tmp_path: Path) -> None:
    with mounted(tmp_path / "tiny", 3) as folder:
        ballast = Ballast(str(folder / "log.db"), BALLAST)
        assert not ballast.has_room
        assert ballast.make()
        ballast.give_up()
        fill(folder / "others")
        assert not ballast.make()
        assert not (folder / "log.db.ballast").exists()
        ballast.give_up()


def test_a_ballast_that_a_crash_cut_short_is_made_anew(tmp_path: Path) -> None:
    ballast = Ballast(str(tmp_path / "log.db"), 5_000)
    (tmp_path / "log.db.ballast").write_bytes(bytes(10))
    assert not ballast.is_there
    assert ballast.make()
    assert (tmp_path / "log.db.ballast").stat().st_size == 5_000


@pytest.mark.slow
def test_a_real_server_serves_on_a_full_disk_and_recovers_alone(
    small: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "early").touch()
    with running(str(root), "--db", f"{small}/log.db", "--port", "0") as server:
        wait_until(lambda: "early" in server.names())
        fill(small / "others")
        for number in range(3_000):
            (root / f"file{number:04d}").touch()
        wait_until(lambda: server.get("/api/v1/status")[1]["log"]["full"])
        warnings = server.get("/api/v1/status")[1]["warnings"]
        assert any("the disk is full: reading goes on" in line for line in warnings)
        assert "early" in server.names()
        (small / "others").unlink()
        wait_until(lambda: "file2999" in server.names())
        assert len(server.names()) >= 3_001
        wait_until(lambda: not server.get("/api/v1/status")[1]["log"]["full"])
        assert server.end() == 0
    assert_sound(small / "log.db")
