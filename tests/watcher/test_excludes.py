import fnmatch
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcher.excludes import DEFAULT_PATTERNS, Excludes

SEED_DEFAULTS = [".DS_Store", ".Spotlight-V100", ".Trashes", ".fseventsd", "Thumbs.db"]
SEED_DEFAULTS += ["ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "@eaDir", "#recycle"]
SEED_DEFAULTS += [".@__thumb", "*.__tmp__"]


def test_the_seeds_defaults_are_always_excluded() -> None:
    assert list(DEFAULT_PATTERNS) == [*SEED_DEFAULTS, ".nasfeed", ".nasfeed-sync-*"]
    for excludes in (Excludes(), Excludes(["other"])):
        for name in SEED_DEFAULTS:
            assert excludes(name.replace("*", "x").encode())


def test_the_operators_patterns_come_on_top() -> None:
    excludes = Excludes(["*.tmp", "cache"])
    assert excludes(b"a.tmp")
    assert excludes(b"cache")
    assert not excludes(b"cache2")
    assert not excludes(b"a.tmp.jpg")


def test_case_matters() -> None:
    assert not Excludes()(b"thumbs.db")


def test_a_question_mark_is_one_character_of_any_number_of_bytes() -> None:
    excludes = Excludes(["?.txt"])
    assert excludes("é.txt".encode())
    assert excludes(b"\xff.txt")
    assert not excludes(b"\xff\xfe.txt")


@pytest.mark.parametrize("name", [b"a\nb.tmp", b"\n.tmp", b"\xff\n.tmp", b".tmp"])
def test_a_newline_or_a_byte_that_is_no_utf8_is_a_part_of_the_name(name: bytes) -> None:
    assert Excludes(["*.tmp"])(name)


def test_a_pattern_ends_where_the_name_ends() -> None:
    assert not Excludes(["a.tmp", "*.tmp"])(b"a.tmp\n")


def test_a_plain_pattern_that_is_not_ascii() -> None:
    assert Excludes(["Pápírkosár"])("Pápírkosár".encode())


@given(
    st.lists(st.text("ab.*?[!]-é\n", max_size=6), max_size=4),
    st.text("ab.[]-!é\n\udcff", max_size=6),
)
def test_it_agrees_with_fnmatch(patterns: list[str], name: str) -> None:
    expected = any(fnmatch.fnmatch(name, pattern) for pattern in [*patterns, *SEED_DEFAULTS])
    assert Excludes(patterns)(os.fsencode(name)) is expected
