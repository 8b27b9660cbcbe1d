"""What the benchmarks compute; nothing here measures time."""

import os
from functools import partial
from pathlib import Path

import pytest

from tools.bench import __main__ as command
from tools.bench import burst, compaction, pushing, table
from tools.bench.bench import Bench, alternate
from tools.bench.feeds import NASFEED, Feed
from tools.bench.life import live
from tools.bench.process import Child, family
from tools.bench.row import Figures, Goal, Row, percentile
from tools.bench.tree import Tree, many, mirror, take
from tools.errors import OperatorError


def row(ours: float, theirs: float | None, goal: Goal | None, *, more: bool = False) -> Row:
    return Row(
        work="work",
        unit="s",
        ours=Figures("nasfeed", (ours, ours * 3, ours * 2)),
        theirs=None if theirs is None else Figures("peer", (theirs,)),
        better="more" if more else "less",
        goal=goal,
    )


@pytest.mark.parametrize(
    ("measured", "reached"),
    [
        (row(1, 2, Goal(0.5)), True),
        (row(1, 2, Goal(0.4)), False),
        (row(1, None, Goal(0.5)), None),
        (row(1, 2, None), None),
        (row(1, None, Goal(1, relative=False)), True),
        (row(1, 10, Goal(0.5, relative=False)), False),
        (row(10, 3, Goal(10), more=True), True),
        (row(10, 3.1, Goal(10), more=True), False),
    ],
)
def test_a_goal_is_reached_by_the_best_value(measured: Row, reached: bool | None) -> None:  # noqa: FBT001 - a parameter of the test
    assert measured.reached is reached


def test_the_ratio_is_ours_to_the_peers() -> None:
    measured = row(1, 2, None)
    assert (measured.ratio, measured.median_ratio) == (0.5, 1.0)
    assert row(1, None, None).ratio is None


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(200, 0, -1)]
    assert percentile(values, 50) == 101
    assert percentile(values, 99) == 199
    assert percentile([7.0], 99) == 7


def test_the_table_shows_best_median_ratio_and_verdict() -> None:
    lines = table.lines([row(1, 2, Goal(0.4)), row(1234, None, Goal(1, relative=False))])
    assert lines[2].split() == [
        "work",
        "s",
        "1",
        "(2)",
        "peer",
        "2",
        "0.5",
        "(1)",
        "<=",
        "0.4",
        "x",
        "MISSED",
    ]
    assert lines[3].split() == ["work", "s", "1,234", "(2,468)", "-", "<=", "1", "MISSED"]


def test_sides_alternate_in_order() -> None:
    calls: list[str] = []
    alternate(3, partial(calls.append, "a"), partial(calls.append, "b"))
    assert "".join(calls) == "abbaab"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with files, a directory, links and what is left out."""
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    for number in range(5):
        (source / "a" / f"{number}").write_text("x")
    (source / "link").symlink_to("nowhere")
    os.mkfifo(source / "fifo")
    return source


def test_a_mirror_holds_real_files(source: Path, tmp_path: Path) -> None:
    made = mirror(tmp_path / "made", 8, (str(source),))
    assert (made.entries, made.files) == (8, 5)
    copies = [path for path in made.path.rglob("*") if path.is_file()]
    assert all(path.samefile(source / "a" / path.name) for path in copies)


def test_a_mirror_is_cut_to_size(source: Path, tmp_path: Path) -> None:
    assert mirror(tmp_path / "made", 4, (str(source),)).entries == 4


def test_a_mirror_that_cannot_be_filled_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="8 real files"):
        mirror(tmp_path / "made", 9, (str(source), str(tmp_path / "absent")))


def test_many_files_are_made(tmp_path: Path) -> None:
    made = many(tmp_path / "many", directories=1001, files=2)
    assert (made.entries, made.files) == (2 + 1001 + 2002, 2002)
    assert take(made.path) == made


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    words = ["sh", "-c", "cat /dev/zero >/dev/null & echo ready; wait; exit 3"]
    child = Child(words, tmp_path / "output")
    try:
        child.wait_until(lambda: (tmp_path / "output").read_text() == "ready\n")
        child.wait_until(lambda: child.cpu_seconds() > 0)
        members = family(child.process.pid)
        assert len(members) == 2
        assert child.memory_bytes() > 10_000
    finally:
        os.kill(members[1], 9)
    with pytest.raises(OperatorError, match=r"ended with 3; it said: .*ready"):
        child.finish()


def test_a_server_that_ends_instead_of_starting_is_reported(tmp_path: Path) -> None:
    feed = Feed(NASFEED, tmp_path / "absent", tmp_path, {"nonsense": 1})
    with pytest.raises(OperatorError, match=r"did not get ready.*nonsense"):
        feed.child.wait_until(feed.ready)


@pytest.mark.slow
def test_a_life_is_measured_from_the_scan_to_the_restart(source: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    tree = take(source)
    bench = Bench(
        tree=tree,
        small=tree,
        scratch=tmp_path / "scratch",
        watchman=None,
        wcpan=None,
        wrk=None,
        repeat=1,
        saves=2,
        load_seconds=1,
        say=print,
    )
    life = live(bench, NASFEED, tree, saves=2)
    assert life.changes == tree.entries + 1  # the root
    assert life.latencies is not None
    assert len(life.latencies.hashed) == 2
    assert all(map(float.__le__, life.latencies.visible, life.latencies.hashed))
    assert min(life.drained, life.cursors, life.memory, life.database, life.restart.seconds) > 0
    assert take(source) == tree


@pytest.mark.slow
def test_streams_are_measured(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(pushing, "STREAMS", 8)
    monkeypatch.setattr(pushing, "REQUESTS", 8)
    monkeypatch.setattr(pushing, "SETTLE_SECONDS", 0.0)
    tree = take(source)
    bench = Bench(tree, tree, tmp_path / "scratch", None, None, None, 1, 3, 1, print)
    rows = list(pushing.rows(bench))
    assert [row.unit for row in rows] == ["ms", "ms", "MiB", "ms", "ms"]
    assert rows[1].ours.values[0] >= rows[0].ours.values[0] >= 0
    assert take(source) == tree


@pytest.mark.slow
def test_a_burst_is_unpacked_beside_a_server(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(burst, "FILES", 700)
    tree = take(source)
    bench = Bench(tree, tree, tmp_path / "scratch", None, None, None, 1, 3, 1, print)
    seen, hashed = burst.rows(bench)
    assert seen.ours.values[0] > 0
    assert hashed.ratio is not None
    assert sum(file.is_file() for file in (tmp_path / "scratch" / "burst").rglob("*")) == 700


def test_the_command_line_chooses_themes() -> None:
    parse = command.parser().parse_args
    assert "million" not in command.chosen_themes(parse([]))
    assert command.chosen_themes(parse(["--million"]))[-1] == "million"
    assert command.chosen_themes(parse(["--only", "crawl"])) == ["crawl"]


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--help"])
    assert "--scratch" in capsys.readouterr().out


def test_a_small_log_is_compacted_and_answers_as_before(tmp_path: Path) -> None:
    tree = Tree(tmp_path, 0, 0)
    bench = Bench(tree, tree, tmp_path, None, None, None, 1, 1, 1, print, log_nodes=300)
    found = {row.work.partition(",")[0]: row for row in compaction.rows(bench)}
    assert found["database after compaction"].note == "2,700 events dropped"
    assert {row.unit for row in found.values()} == {"bytes a node", "s", "ms"}


def test_an_answer_that_changed_stops_the_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = Tree(tmp_path, 0, 0)
    bench = Bench(tree, tree, tmp_path, None, None, None, 1, 1, 1, print, log_nodes=20)
    digests = iter([b"one", b"another"])
    monkeypatch.setattr(compaction, "answers", lambda _log: next(digests))
    with pytest.raises(OperatorError, match="has changed what the feed answers"):
        list(compaction.rows(bench))
