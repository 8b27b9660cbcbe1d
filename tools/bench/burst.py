"""Rows: a great many small files that come at once, out of an archive."""

import io
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.bench import drain
from tools.bench.bench import Bench, ended, figures
from tools.bench.describing import limit
from tools.bench.feeds import CURSOR, NASFEED, Feed
from tools.bench.life import LOOK_SECONDS, count, unhashed
from tools.bench.process import Child
from tools.bench.row import Figures, Goal, Row
from tools.bench.tree import take, walk
from tools.bench.wire import OK
from tools.errors import OperatorError

FILES = 50_000
PER_DIRECTORY = 500

BYTES_MAX = 16 * 1024
"""Larger files of the tree are not taken."""

SAMPLES = 5_000
"""Contents of so many files of the tree are used again and again."""

SYNC_SECONDS = 60


class _Burst(NamedTuple):
    """What became of a burst: seconds from its start, and what the server says of its root."""

    unpacked: float
    seen: float
    described: float
    told: int
    status: dict[str, object]


def rows(bench: Bench) -> Iterator[Row]:
    """Measure from the start, and from the end, of `tar -x` into a watched directory."""
    bench.say(f"an archive of {FILES:,} small files of the tree")
    archive, root = _pack(bench.scratch / "burst.tar", bench.tree.path), bench.scratch / "burst"
    root.mkdir()
    bench.say("tar -x beside nasfeed")
    burst = _unpack(bench, archive, root)
    if burst.told != (expected := take(root).entries + 1):
        raise OperatorError(f"of {expected:,} nodes {burst.told:,} were told")
    yield Row(
        work=f"tar -x of {FILES:,} files, all seen after the last write",
        unit="s",
        ours=Figures("nasfeed", (burst.seen - burst.unpacked,)),
        goal=Goal(2, relative=False),
        note=f"{burst.status['backend']}, {burst.status['overflows']} overflows; "
        f"tar took {burst.unpacked:.1f} s",
    )
    bench.say("file and md5sum on them")
    yield Row(
        work=f"tar -x of {FILES:,} files, all hashed",
        unit="s",
        ours=Figures("nasfeed", (burst.described,)),
        theirs=figures("file+md5sum", [limit(bench, root)]),
        goal=Goal(1.5),
        note="from the start of tar, beside which it ran; the others had the machine to themselves",
    )


def _unpack(bench: Bench, archive: Path, root: Path) -> _Burst:
    """Unpack an archive where a server watches."""
    feed = Feed(NASFEED, root, bench.new_state())
    with ended(feed):
        feed.child.wait_until(feed.ready)
        words = ["tar", "-x", "-f", str(archive), "-C", str(root)]
        tar = Child(words, bench.scratch / "tar-output")
        unpacked, _ = tar.finish()
        if feed.get(f"{CURSOR}?sync={SYNC_SECONDS}")[0] != OK:
            raise OperatorError(f"not all was seen within {SYNC_SECONDS} s")
        seen = tar.age()
        pages: list[bytes] = []

        def hashed() -> bool:
            if not feed.described():  # as of half a second ago
                return False
            pages[:] = drain.drain(feed.port, NASFEED.page)
            return not unhashed(pages)

        feed.child.wait_until(hashed, LOOK_SECONDS)
        described = tar.age()
        told = count(pages)
        status = json.loads(feed.get("/api/v1/status")[1])["roots"][0]
    return _Burst(unpacked, seen, described, told, status)


def _pack(archive: Path, tree: Path) -> Path:
    """Make an archive of small files, whose contents are those of the tree's, again and again."""
    contents = itertools.cycle([*itertools.islice(_contents(tree), SAMPLES)])
    with tarfile.open(archive, "w") as file:
        for number in range(FILES):
            data = next(contents)
            entry = tarfile.TarInfo(f"{number // PER_DIRECTORY:03}/{number:05}")
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    return archive


def _contents(tree: Path) -> Iterator[bytes]:
    for entry in walk(tree):
        if entry.is_file(follow_symlinks=False) and entry.stat().st_size <= BYTES_MAX:
            yield Path(entry.path).read_bytes()
