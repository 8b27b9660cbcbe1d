"""Requests at once, in any order, against a dict: what came of them is what some order gives."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.api.filetracker.model import (
    ASKS,
    TOGETHER,
    Ask,
    Files,
    Told,
    explains,
    lists_what_it_must,
    on_disk,
    send,
)
from tests.api.filetracker.tracking import NOON, Tracked, tracked


class Machine(RuleBasedStateMachine):
    """Sends requests to one store, each example in a directory of its own."""

    store: ClassVar[Tracked]
    pool: ClassVar[ThreadPoolExecutor]
    examples: ClassVar[Iterator[int]]

    @initialize()
    def begin(self) -> None:
        self.top = f"{next(self.examples)}"
        self.files: Files = {}
        self.store.put(f"{self.top}/.here", b"", NOON + 99)  # so that there is always a directory

    @rule(asks=st.lists(ASKS, min_size=1, max_size=TOGETHER))
    def ask(self, asks: list[Ask]) -> None:
        told = list(self.pool.map(lambda ask: send(self.store, self.top, ask), asks))
        seen = on_disk(self.store.path / self.top)
        assert explains(self.files, asks, told, seen), (asks, told, seen)
        for ask, answer in zip(asks, told, strict=True):
            if ask.method == "LIST":
                assert lists_what_it_must(self.files, asks, ask, names(answer)), (asks, told)
        self.files = seen

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.store.staged() == 0


def names(told: Told) -> set[str]:
    assert isinstance(told.found, set)
    return told.found


@pytest.mark.slow
def test_requests_at_once_do_what_some_order_of_them_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with tracked(tmp_path_factory.mktemp("store")) as store, ThreadPoolExecutor(TOGETHER) as pool:
        Machine.store, Machine.pool, Machine.examples = store, pool, itertools.count()
        case = Machine.TestCase
        case.settings = settings(
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        case().runTest()
        store.nas.see(store.path)
