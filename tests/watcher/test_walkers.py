"""Walkers as a scan sees them: real processes."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tests.serving import wait_until
from tests.watcher.nurseries import nursery
from tests.watcher.rig import Rig, followed
from watcher.fanotify_kernel import HandleReader
from watcher.nursery import WALKERS_MAX, Nursery
from watcher.walk import Listed, Rules, Todo, Walked
from watcher.walkers import Walkers


class Told:
    """A backend that notes what it is told of."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.forgot = 0

    def foresee(self) -> None:
        raise AssertionError("nobody asks")

    def watch_listed(self, numbers: Sequence[int], keys: Sequence[bytes]) -> None:
        assert len(keys) == len(numbers)
        self.numbers += numbers

    def forget_strangers(self) -> None:
        self.forgot += 1


def hire(rig: Rig, made: Nursery, told: Told, said: list[str]) -> Walkers:
    fd = os.open(rig.path, os.O_RDONLY)
    try:
        rules = Rules(
            rig.log_path,
            (),
            (),
            {os.fstat(fd).st_dev: rig.node("").state.fs},
            {HandleReader().read(fd)[0]: b"fsid"},
        )
        return Walkers(made, told, rules, fd, said.append)
    finally:
        os.close(fd)


def work(walkers: Walkers, todos: list[Todo]) -> list[Walked | Listed]:
    answers: list[Walked | Listed] = []
    while todos or walkers.busy:
        walkers.give(todos)
        for answer in walkers.take(1.0):
            todos += answer.todos
            answers.append(answer)
        if not walkers:
            break
    return answers


def tops(rig: Rig, names: Sequence[str]) -> list[Todo]:
    nodes = [rig.node(name) for name in names]
    return [Todo(n.number, n.state.name, (n.state.fs, n.state.ino)) for n in nodes]


def test_everything_is_walked_once_and_watched(tmp_path: Path) -> None:
    with followed(tmp_path) as rig, nursery() as made:
        for number in range(20):
            (rig.path / f"{number}" / "below").mkdir(parents=True)
        rig.scan()
        told, said = Told(), list[str]()
        walkers = hire(rig, made, told, said)
        answers = work(walkers, tops(rig, [f"{n}" for n in range(20)]))
        walkers.close()
        assert sum(a.entries for a in answers) == 20
        assert len(told.numbers) == 40
        assert told.forgot == 1
        assert not said


def test_what_a_dead_one_had_to_do_is_left_to_others(tmp_path: Path) -> None:
    with followed(tmp_path) as rig, nursery() as made:
        (rig.path / "one").mkdir()
        rig.scan()
        told, said = Told(), list[str]()
        walkers = hire(rig, made, told, said)
        for pid in walker_pids(made):
            os.kill(pid, signal.SIGKILL)
        todos = tops(rig, ["one"])
        answers = work(walkers, [*todos])
        while walkers:
            answers += walkers.take(1.0)
        assert [todo for answer in answers for todo in answer.others] == todos
        assert said
        assert not walkers.busy
        walkers.close()


def test_there_are_no_more_than_processors(tmp_path: Path) -> None:
    with followed(tmp_path) as rig, nursery() as made:
        rig.scan()
        first = hire(rig, made, Told(), [])
        second = hire(rig, made, Told(), [])
        assert first
        assert not second
        second.close()
        first.close()
        third = hire(rig, made, Told(), [])
        assert third
        third.close()


def test_a_nursery_that_is_gone_gives_none(tmp_path: Path) -> None:
    with followed(tmp_path) as rig, nursery() as made:
        rig.scan()
        made.close()
        assert not hire(rig, made, Told(), [])


def walker_pids(made: Nursery) -> list[int]:
    """Return the processes of the walkers, as soon as all are there."""
    children = Path(f"/proc/{made.pid}/task/{made.pid}/children")
    expected = min(WALKERS_MAX, len(os.sched_getaffinity(0)))
    wait_until(lambda: len(children.read_text().split()) == expected, "walkers are there")
    return [int(word) for word in children.read_text().split()]
