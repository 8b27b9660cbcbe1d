"""Rows: thumbnails of 12-megapixel JPEGs by our workers, beside plain Pillow in one process.

Pillow decodes at the scale that is needed (`draft`), makes it small, turns it and saves it. The
workers do that as well, and besides they are other processes, which open no file themselves.
"""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from api.library.thumbs import BOXES
from tools.bench import thumb_load
from tools.bench.bench import Bench, alternate
from tools.bench.loads import run_load
from tools.bench.row import Figures, Goal, Row

SLOWER: Final = 1.2
"""How many times Pillow's processor time ours may be."""


class Measure(NamedTuple):
    """Something that is made of each picture.

    Attributes:
        work: for the table.
        boxes: sizes of the thumbnails, pixels.
        facts: whether what the picture says of itself is read as well; Pillow does not.
    """

    work: str
    boxes: tuple[int, ...]
    facts: bool


MEASURES: Final = (
    *(Measure(f"thumbnails of {box} pixels, 12 MP", (box,), facts=False) for box in BOXES),
    Measure("pictures of 12 MP, both thumbnails, facts", BOXES, facts=True),
)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure both.

    Args:
        bench: the run.

    Yields:
        A row for each measure, more being better.
    """
    state = bench.new_state()
    bench.say("making pictures")
    thumb_load.make_pictures(state)
    for measure in MEASURES:
        values: dict[str, list[float]] = {"workers": [], "pillow": []}
        sides = (partial(_measure, bench, state, measure, name, values) for name in values)
        alternate(bench.repeat, *sides)
        yield Row(
            work=measure.work,
            unit="a second and core",
            ours=Figures("nasfeed", tuple(values["workers"])),
            theirs=Figures("pillow", tuple(values["pillow"])),
            better="more",
            goal=Goal(1 / SLOWER),
            note="by processor time, of the workers and of who asks them",
        )
    shutil.rmtree(state)


def _measure(
    bench: Bench, state: Path, measure: Measure, name: str, values: dict[str, list[float]]
) -> None:
    boxes = ",".join(map(str, measure.boxes))
    words = [name, str(state), boxes, str(int(measure.facts)), str(bench.load_seconds)]
    printed = run_load("thumb_load", words, measure.work)
    count, seconds = json.loads(printed)
    values[name].append(count / seconds)
