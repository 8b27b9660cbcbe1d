"""Which names have come and gone unseen, and for how long that is remembered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watcher.rig import Rig, followed
from watcher.backend import Place, Sign
from watcher.vanished import VANISHED_SECONDS

CAME, WENT = (Sign.CREATED, Sign.MOVED_TO), (Sign.DELETED, Sign.MOVED_FROM)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with followed(tmp_path) as rig:
        (rig.path / "file").touch()
        (rig.path / "directory").mkdir()
        rig.scan()
        yield rig


def noted(rig: Rig, name: str, sign: Sign) -> bool:
    """Say whether a hint about a name in the root counts, of which a look is taken now."""
    fd = rig.tools.directories.fd(rig.number)
    assert fd is not None
    place = Place(rig.number, name.encode())
    seen = {place: rig.tools.looker.look(fd, place, sign)}
    rig.tools.vanished.note({place: sign}, seen, rig.tree)
    return rig.tools.vanished.recently()


@pytest.mark.parametrize("went", WENT)
@pytest.mark.parametrize("came", CAME)
@pytest.mark.parametrize("name", ["nothing", "file", ".DS_Store"])
def test_a_name_that_came_and_went_between_two_looks(
    rig: Rig, name: str, came: Sign, went: Sign
) -> None:
    assert noted(rig, name, came | went)


@pytest.mark.parametrize("sign", [*CAME, *WENT, Sign.WRITTEN])
def test_a_name_that_came_before_the_look_and_went_before_it_was_known(
    rig: Rig, sign: Sign
) -> None:
    assert noted(rig, "nothing", sign)


@pytest.mark.parametrize("sign", [*CAME, Sign.WRITTEN, Sign.ATTRIBUTES])
def test_a_file_that_is_there_is_none(rig: Rig, sign: Sign) -> None:
    assert not noted(rig, "file", sign)


def test_a_known_file_that_went_is_none(rig: Rig) -> None:
    (rig.path / "file").unlink()
    assert not noted(rig, "file", Sign.DELETED)


def test_a_new_directory_that_went_counts_for_what_was_in_it(rig: Rig) -> None:
    (rig.path / "directory").rmdir()
    assert noted(rig, "directory", Sign.DELETED)


def test_it_is_forgotten_after_a_while(rig: Rig) -> None:
    assert noted(rig, "nothing", Sign.CREATED | Sign.DELETED)
    rig.clock.seconds += VANISHED_SECONDS
    assert not rig.tools.vanished.recently()
