"""A dict that says what requests at once may do, also those that a kill left open."""

import gzip
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from hypothesis import strategies as st

from tests.api.filetracker.tracking import NOON, Asking

NAMES = ("a", "b", "d/c", "d/e")
TOGETHER = 4
"""Requests at once: all orders of them are tried."""


class File(NamedTuple):
    version: int
    content: bytes


Files = Mapping[str, File]


class Ask(NamedTuple):
    """A request.

    Attributes:
        after: how many others are made before it, of no account, so that those that are sent
            together meet in many ways.
    """

    method: Literal["PUT", "DELETE", "GET", "LIST"]
    name: str
    version: int
    content: bytes
    after: int

    @property
    def changes(self) -> bool:
        return self.method in ("PUT", "DELETE")


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


def orders(
    files: Files, asks: Sequence[Ask], which: Sequence[int]
) -> Iterator[tuple[Files, dict[int, Told]]]:
    """Yield what each order of some of the requests gives."""
    for order in itertools.permutations(which):
        state, told = files, {}
        for index in order:
            state, told[index] = apply(state, asks[index])
        yield state, told


def explains(files: Files, asks: Sequence[Ask], told: Sequence[Told | None], seen: Files) -> bool:
    """Say whether some order of the requests gives what was told and what is there now.

    Requests without an answer were done, or not done at all.
    """
    answered = [n for n, each in enumerate(told) if each is not None]
    others = [n for n, each in enumerate(told) if each is None and asks[n].changes]
    # A list goes through the directories while others change them, so it has no place in an order.
    calm = not any(ask.changes for ask in asks)
    compared = [n for n in answered if calm or asks[n].method != "LIST"]
    return any(
        state == seen and all(wanted[n] == told[n] for n in compared)
        for count in range(len(others) + 1)
        for done in itertools.combinations(others, count)
        for state, wanted in orders(files, asks, [*answered, *done])
    )


def lists_what_it_must(files: Files, asks: Sequence[Ask], ask: Ask, found: set[str]) -> bool:
    """Say whether a list has what nobody changed meanwhile, and nothing that nobody ever put."""
    touched = {other.name for other in asks if other.changes}
    put = {o.name for o in asks if o.method == "PUT" and o.version <= ask.version}
    there = {name for name, file in files.items() if file.version <= ask.version}
    return there - touched <= found <= there | put


def send(store: Asking, top: str, ask: Ask) -> Told:
    """Make a request, below a directory of the store."""
    for _ in range(ask.after):
        store.ask("GET", "/version")
    path = f"{top}/{ask.name}"
    if ask.method == "PUT":
        reply = store.put(path, ask.content, ask.version)
        return Told(reply.status, reply.version)
    if ask.method == "DELETE":
        return Told(store.delete(path, ask.version).status)
    if ask.method == "LIST":
        return Told(200, store.listed(f"/{top}", ask.version))
    reply = store.get(path, Accept_Encoding="gzip" if ask.version % 2 else "identity")
    if reply.status != 200 or reply.version is None:
        return Told(reply.status)
    is_packed = reply.fields.get("content-encoding") == "gzip"
    return Told(200, File(reply.version, gzip.decompress(reply.body) if is_packed else reply.body))


def on_disk(top: Path) -> Files:
    """Return what is there."""
    found = {}
    for name in NAMES:
        path = top / name
        if path.exists():
            found[name] = File(int(path.stat().st_mtime), path.read_bytes())
    return found


ASKS = st.builds(
    Ask,
    st.sampled_from(("PUT", "PUT", "DELETE", "GET", "LIST")),
    st.sampled_from(NAMES),
    st.integers(NOON, NOON + 5),
    st.binary(max_size=3).map(lambda data: data * 1000),
    st.integers(0, 6),
)
