"""Requests at once, in any order, against a dict: what came of them is what some order gives."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.api.filetracker.tracking import NOON, Tracked, tracked

NAMES = ("a", "b", "d/c", "d/e")
TOGETHER = 4
"""Requests at once: all orders of them are tried."""


class File(NamedTuple):
    version: int
    content: bytes


Files = Mapping[str, File]


class Ask(NamedTuple):
    """A request, or in a model what it asks for."""

    method: Literal["PUT", "DELETE", "GET", "LIST"]
    name: str
    version: int
    content: bytes


class Told(NamedTuple):
    """What came of a request: its status, and the version, content or names that it told."""

    status: int
    found: object = None


def apply(files: Files, ask: Ask) -> tuple[Files, Told]:
    """Say what a request does, when nothing else goes on."""
    here = files.get(ask.name)
    if ask.method == "LIST":
        return files, Told(200, {name for name, f in files.items() if f.version <= ask.version})
    if ask.method == "PUT":
        if here is None or here.version <= ask.version:
            here = File(ask.version, ask.content)
        return {**files, ask.name: here}, Told(200, here.version)
    if here is None:
        return files, Told(404)
    if ask.method == "GET":
        return files, Told(200, here)
    if here.version > ask.version:
        return files, Told(200)
    return {name: file for name, file in files.items() if name != ask.name}, Told(200)


def orders(files: Files, asks: Sequence[Ask]) -> Iterator[tuple[Files, list[Told]]]:
    """Yield what each order of some requests gives."""
    for order in itertools.permutations(range(len(asks))):
        state, told = files, [Told(0)] * len(asks)
        for index in order:
            state, told[index] = apply(state, asks[index])
        yield state, told


ASKS = st.builds(
    Ask,
    st.sampled_from(("PUT", "PUT", "DELETE", "GET", "LIST")),
    st.sampled_from(NAMES),
    st.integers(NOON, NOON + 5),
    st.binary(max_size=3).map(lambda data: data * 1000),
)


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
        told = list(self.pool.map(self.send, asks))
        # A list goes through the directories while others change them: it promises nothing then.
        calm = all(ask.method in ("GET", "LIST") for ask in asks)
        expected = list(orders(self.files, asks))
        matching = [
            state
            for state, wanted in expected
            if all(
                (ask.method == "LIST" and not calm) or one == other
                for ask, one, other in zip(asks, wanted, told, strict=True)
            )
        ]
        seen = self.seen()
        assert seen in matching, (asks, told, seen)
        self.files = seen

    def send(self, ask: Ask) -> Told:
        path = f"{self.top}/{ask.name}"
        if ask.method == "PUT":
            reply = self.store.put(path, ask.content, ask.version)
            return Told(reply.status, reply.version)
        if ask.method == "DELETE":
            return Told(self.store.delete(path, ask.version).status)
        if ask.method == "LIST":
            return Told(200, self.store.listed(f"/{self.top}", ask.version))
        reply = self.store.get(path)
        if reply.status != 200 or reply.version is None:
            return Told(reply.status)
        return Told(200, File(reply.version, reply.body))

    def seen(self) -> Files:
        """Return what is on the disk."""
        found = {}
        for name in NAMES:
            path = self.store.path / self.top / name
            if path.exists():
                found[name] = File(int(path.stat().st_mtime), path.read_bytes())
        return found

    @invariant()
    def nothing_is_left_over(self) -> None:
        assert self.store.staged() == 0


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
