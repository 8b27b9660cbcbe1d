"""No file keeps the others from being looked at."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.library.gallery import WAIT_MAX, Gallery
from api.library.thumb_cache import ThumbCache
from api.library.thumbs import Looked
from eventlog.clock import SystemClock
from eventlog.library import Facts
from tests.api.library.family import Family, Person, family
from tests.api.library.test_thumbs import facts_of, picture, size, thumbnail

HEAD = picture()[:600]
"""By which it is told what a file is."""


class Passing(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


class Looks:
    """Looks at files, but for one of them."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.failing = 0
        self.error: Exception = ValueError("nobody has thought of this")
        self.lasting = True

    def __call__(self, fd: int, boxes: tuple[int, ...], *, webp: bool, facts: bool) -> Looked:
        assert (len(boxes), webp, facts) == (2, False, True)
        found = os.fstat(fd).st_size - len(HEAD)
        self.seen.append(found)
        if found == self.failing and self.lasting:
            raise self.error
        is_well = found != self.failing
        return Looked([], Facts(0, b"") if is_well else None, "" if is_well else "slow", is_well)


class Alone(contextlib.ExitStack):
    """A library whose new files are looked at only when a test says so."""

    def __init__(self, home: Family, tmp_path: Path, clock: Passing) -> None:
        super().__init__()
        home.face._keeper.stop()
        self.home, self.clock, self.looks = home, clock, Looks()
        self.cache = ThumbCache(tmp_path / "thumbs")
        self.gallery = Gallery(home.face.service, self.cache, self.looks)

    def put(self, *numbers: int) -> None:
        """Make files, one by one, so that the last is the newest."""
        for each in numbers:
            path = self.home.nas.roots["photos"] / f"{each}.jpg"
            path.write_bytes(HEAD + b"x" * each)
            self.home.nas.see(path.parent)

    def look(self) -> list[int]:
        """Look once; return which were looked at."""
        self.looks.seen.clear()
        self.gallery.describe_new(lambda: False)
        return self.looks.seen


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Alone]:
    clock = Passing()
    with family(tmp_path, clock, roots=("photos",)) as home:
        yield Alone(home, tmp_path, clock)


def test_a_file_that_nobody_has_thought_of_is_passed_over(alone: Alone) -> None:
    alone.looks.failing = 2
    alone.put(1, 2, 3)
    assert alone.look() == [3, 2, 1]
    assert alone.look() == []  # not again at once
    alone.clock.seconds += 1.5
    assert alone.look() == [2]
    alone.clock.seconds += 1.5
    assert alone.look() == []  # each time it waits longer, but not for ever
    alone.clock.seconds += WAIT_MAX
    alone.looks.failing = 0
    assert alone.look() == [2]
    alone.clock.seconds += WAIT_MAX
    assert alone.look() == []


def test_when_nothing_can_be_looked_at_the_next_file_has_its_turn(alone: Alone) -> None:
    alone.looks.failing, alone.looks.error = 2, OSError("no process can be started")
    alone.put(1, 2)
    with pytest.raises(OSError, match="no process"):
        alone.look()
    assert alone.look() == [1]


def test_what_says_nothing_of_a_file_is_not_kept(alone: Alone, tmp_path: Path) -> None:
    alone.looks.failing, alone.looks.lasting = 1, False
    alone.put(1)
    assert alone.look() == [1]
    assert list((tmp_path / "thumbs").glob("*/*")) == []
    alone.looks.failing = 0
    alone.clock.seconds += WAIT_MAX
    assert alone.look() == [1]
    number = alone.home.number(alone.home.nas.roots["photos"] / "1.jpg")
    assert facts_of(alone.home, number).problem == ""


def test_more_files_that_cannot_be_opened_than_are_asked_for_at_once_starve_nobody(
    alone: Alone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.library.gallery.PAGE", 3)
    alone.put(1, *range(2, 10))
    photos = alone.home.nas.roots["photos"]
    away = photos.with_name("away")
    photos.rename(away)
    while alone.gallery._waiting():
        alone.look()
    assert alone.looks.seen == []
    away.rename(photos)
    alone.put(10)
    assert 10 in alone.look()


def deep_picture(root: Path) -> Path:
    """Make a picture whose path below a root is longer than the kernel takes."""
    names, fd = ["d" * 240] * 18, os.open(root, os.O_PATH)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_PATH, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open("deep.jpg", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    with os.fdopen(file, "wb") as opened:
        opened.write(picture())
    os.close(fd)
    return root.joinpath(*names, "deep.jpg")


def test_a_picture_with_a_path_longer_than_the_kernel_takes_is_like_others(
    home: Family, terry: Person, photos: Path
) -> None:
    number = home.number(deep_picture(photos))
    (photos / "after.jpg").write_bytes(picture(30, 20))
    assert facts_of(home, home.number(photos / "after.jpg")).width == 30
    assert facts_of(home, number).width == 1200
    assert size(thumbnail(terry, number)) == (100, 75)
    assert terry.ask("GET", f"/downFile.icc?id={number}").body == picture()
    key = terry.get("shareFileUrl", id=number).data
    assert home.person().ask("GET", f"/shareFile.icc?shareKey={key}").body == picture()
