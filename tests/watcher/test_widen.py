"""A batch is widened by every place that decides what it means, and by no other."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.rig import Rig, followed, rigs
from watcher.backend import Place, Sign
from watcher.widen import Batch


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with followed(tmp_path) as rig:
        yield rig


def widened(rig: Rig, name: str, sign: Sign = Sign.MOVED_TO) -> Batch:
    """Return the batch that begins with one look at a name in the root."""
    fd = rig.tools.directories.fd(rig.number)
    assert fd is not None
    place = Place(rig.number, name.encode())
    batch = {place: rig.tools.looker.look(fd, place, sign)}
    rig.tools.widener.widen(batch)
    return batch


def names(batch: Batch) -> set[bytes]:
    return {place.name for place in batch}


def test_where_a_newcomer_was_before_is_looked_at(rig: Rig) -> None:
    (rig.path / "old").touch()
    rig.scan()
    (rig.path / "old").rename(rig.path / "new")
    batch = widened(rig, "new")
    assert names(batch) == {b"old", b"new"}
    assert batch[Place(rig.number, b"old")].facts is None


def test_a_chain_of_renames_is_followed_to_its_end(rig: Rig) -> None:
    for name in ("a", "b", "c"):
        (rig.path / name).write_text(name)
    rig.scan()
    (rig.path / "c").rename(rig.path / "d")
    (rig.path / "b").rename(rig.path / "c")
    (rig.path / "a").rename(rig.path / "b")
    assert names(widened(rig, "d")) >= {b"d", b"c"}
    assert names(widened(rig, "b")) >= {b"a", b"b"}


def test_all_names_of_a_file_that_was_written_are_looked_at(rig: Rig) -> None:
    (rig.path / "a").write_bytes(b"1")
    os.link(rig.path / "a", rig.path / "b")
    rig.scan()
    (rig.path / "a").write_bytes(b"22")
    batch = widened(rig, "a", Sign.WRITTEN)
    assert names(batch) == {b"a", b"b"}
    assert Sign.WRITTEN in batch[Place(rig.number, b"b")].signs


def test_what_was_written_under_a_name_that_went_was_written_under_all(rig: Rig) -> None:
    (rig.path / "a").write_bytes(b"1")
    os.link(rig.path / "a", rig.path / "b")
    rig.scan()
    (rig.path / "a").unlink()
    batch = widened(rig, "a", Sign.WRITTEN | Sign.DELETED)
    assert Sign.WRITTEN in batch[Place(rig.number, b"b")].signs


def test_an_unchanged_file_leads_nowhere(rig: Rig) -> None:
    (rig.path / "a").touch()
    os.link(rig.path / "a", rig.path / "b")
    rig.scan()
    assert names(widened(rig, "a", Sign.ATTRIBUTES)) == {b"a"}


def test_a_new_file_that_nobody_knows_leads_nowhere(rig: Rig) -> None:
    rig.scan()
    (rig.path / "a").touch()
    assert names(widened(rig, "a", Sign.CREATED)) == {b"a"}


def test_places_of_another_root_are_handed_to_it(tmp_path: Path) -> None:
    with rigs(tmp_path, "one", "two") as [one, two]:
        (one.path / "file").touch()
        one.scan()
        two.scan()
        (one.path / "file").rename(two.path / "file")
        batch = widened(two, "file")
        assert set(two.elsewhere) == {Place(one.number, b"file")}
        assert batch[Place(one.number, b"file")].facts is None  # its only name is here now
