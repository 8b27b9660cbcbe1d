"""An absent root is not an empty root."""

import os
import stat
from pathlib import Path

import pytest

from projections.tree import Node
from watcher.backend import Place
from watcher.observation import Facts, new_state
from watcher.root import Root, RootAbsentError, is_empty, judge, open_root


def facts(fs: int = 7, ino: int = 1) -> Facts:
    return Facts(stat.S_IFDIR | 0o755, 0, 10, 10, fs, ino, 0, 0, 0)


def known(fs: int = 7, ino: int = 1) -> Node:
    return Node(1, 1, new_state(Place(0, b"root"), facts(fs, ino), b"/srv"))


@pytest.mark.parametrize(
    ("node", "found", "was_full", "empty", "refused"),
    [
        (None, facts(), False, True, False),
        (known(), facts(), True, False, False),
        (known(), facts(), True, True, False),  # the same directory: it was emptied
        (known(), facts(ino=2), True, True, True),
        (known(), facts(ino=2), True, False, True),  # one stray file must not cost all the others
        (known(), facts(ino=2), False, True, False),
        (known(), facts(fs=8), True, False, True),
        (known(), facts(fs=8), True, True, True),
        (known(), facts(fs=8), False, True, False),
        (known(fs=0), facts(fs=0), True, True, True),  # inodes mean nothing here
        (known(fs=0), facts(fs=0), True, False, False),
    ],
)
def test_a_stranger_in_the_place_of_a_full_root_is_refused(
    node: Node | None,
    found: Facts,
    was_full: bool,  # noqa: FBT001 - a parameter of a test
    empty: bool,  # noqa: FBT001
    refused: bool,  # noqa: FBT001
) -> None:
    reason = judge(node, found, was_full=was_full, empty=empty)
    assert (reason is not None) == refused


def test_a_root_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name, words in (("missing", "No such file"), ("file", "Not a directory")):
        with pytest.raises(RootAbsentError, match=words):
            open_root(Root(name, bytes(tmp_path / name)))


def test_a_root_may_be_a_link_and_empty_or_not(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    fd = open_root(Root("link", bytes(tmp_path / "link")))
    assert is_empty(fd)
    (tmp_path / "real" / ".hidden").touch()
    assert not is_empty(fd)
    os.close(fd)
