"""Rows: pages of files of the media library over HTTP, in every order and of every choice.

The log is made for this. Its disks are away, so that nothing is measured but the answers: what
watching takes is told by other rows. There is no peer: the original sorts all files each time.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from projections.library_types import FileType
from projections.media_lists import SORTS
from tools.bench import library_log
from tools.bench.bench import Bench
from tools.bench.large import MEMORY_MIB, MIB
from tools.bench.library_client import Client, decoded, serving
from tools.bench.process import CLOCK
from tools.bench.row import Figures, Goal, Row

PAGE: Final = 100
GOAL_MS: Final = 20
PLACES: Final = ("first", "middle", "deepest")
_MIDDLE: Final = (0.1, 0.25, 0.5, 0.75, 0.9)


class Asked(NamedTuple):
    """A page that was asked for.

    Attributes:
        place: one of `PLACES`.
        target: of the request.
        milliseconds: until the answer was there.
    """

    place: str
    target: str
    milliseconds: float


def rows(bench: Bench) -> Iterator[Row]:
    """Measure pages, and the memory of the server before and after."""
    state, files = bench.new_state(), bench.library_files
    bench.say(f"making a library of {files:,} files")
    library_log.make(str(state / "feed.db"), files)
    roots = {name: str(state / "away" / name) for name in library_log.ROOTS}
    with serving(state, roots) as feed:
        idle = feed.child.memory_bytes()
        with contextlib.closing(Client(feed.port)) as client:
            asked = _best([each for _ in range(bench.repeat) for each in _pages(client)])
        yield from _rows(files, asked)
        for name, found in (("idle", idle), ("after all pages", feed.child.memory_bytes())):
            yield Row(
                work=f"library: memory {name}, {files:,} files",
                unit="MiB",
                ours=Figures("nasfeed", (found / MIB,)),
                goal=Goal(MEMORY_MIB, relative=False),
                note="all processes, shared pages counted once; the disks are away",
            )
    shutil.rmtree(state)


def _best(asked: list[Asked]) -> list[Asked]:
    """Return each page once, with the best of its times: others use this machine, too."""
    found: dict[str, Asked] = {}
    for each in sorted(asked, key=lambda each: each.milliseconds):
        found.setdefault(each.target, each)
    return list(found.values())


def _rows(files: int, asked: list[Asked]) -> Iterator[Row]:
    for place in PLACES:
        found = [each for each in asked if each.place == place]
        worst = max(found, key=lambda each: each.milliseconds)
        times = sorted(each.milliseconds for each in found)
        for name, value in (("median", times[len(times) // 2]), ("worst", times[-1])):
            yield Row(
                work=f"library: {place} pages, {name}, {files:,} files",
                unit="ms",
                ours=Figures("nasfeed", (value,)),
                goal=Goal(GOAL_MS, relative=False),
                note=f"{len(found)} pages of {PAGE} files, the best of each counts"
                + (f"; {worst.target}" if name == "worst" else ""),
            )


def _pages(client: Client) -> Iterator[Asked]:
    """Ask for pages of every choice in every order."""
    for choice in choices(client):
        for sort in (0, *SORTS, *(-sort for sort in SORTS)):
            count, first = _ask(client, choice, sort, 0, "first")
            yield first
            last = max(0, count - 1)
            for index in sorted({round(last * part) for part in _MIDDLE} - {0, last}):
                yield _ask(client, choice, sort, index, "middle")[1]
            yield _ask(client, choice, sort, last, "deepest")[1]


def choices(client: Client) -> list[Mapping[str, Any]]:
    """Return what may be chosen: by type, root, catalog, and whose upload it was."""
    roots = client.ask("/catalogs.icc?pids=-1")["data"]
    catalogs = client.ask(f"/catalogs.icc?pids={roots[0]['id']}")["data"]
    largest = max(catalogs, key=lambda each: each["fileCount"])["id"]
    several = [each["id"] for each in catalogs[:10]]
    return [
        {},
        {"rootIds": [roots[0]["id"]]},
        {"types": [int(FileType.IMAGE)]},
        {"types": [int(FileType.VIDEO), int(FileType.GIF)]},
        {"pids": [largest]},
        {"pids": several},
        {"onlySelfUpload": 1},
        {"onlySelfUpload": 1, "pids": [largest], "types": [int(FileType.IMAGE)]},
    ]


def _ask(
    client: Client, choice: Mapping[str, Any], sort: int, index: int, place: str
) -> tuple[int, Asked]:
    fields = {"pageIndex": index, "maxPerPage": PAGE, "sort": sort}
    lists = {key: _listed(value) for key, value in choice.items()}
    target = f"/files.icc?{urlencode({**lists, **fields})}"
    begun = CLOCK.monotonic()
    body = client.raw(target)
    milliseconds = (CLOCK.monotonic() - begun) * 1000
    answer = decoded(body)
    return int(answer["data"]["page"]["pageCount"]), Asked(place, target, milliseconds)


def _listed(value: object) -> object:
    return ",".join(map(str, value)) if isinstance(value, list) else value
