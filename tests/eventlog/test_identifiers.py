"""Node ids: they come back as the number, and no other text does."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import SUPER_ROOT
from eventlog.identifiers import NUMBER_MAX, SUPER_ROOT_ID, NodeIds, new_prefix

NUMBERS = st.integers(1, NUMBER_MAX)
OURS = NodeIds(new_prefix())
PREFIX = "c97e1902-0169-8a52-8ef3"


@given(NUMBERS)
def test_a_number_comes_back_from_its_id(number: int) -> None:
    assert OURS.to_number(OURS.to_id(number)) == number


@given(NUMBERS)
def test_an_id_is_a_uuid_of_version_8(number: int) -> None:
    parsed = uuid.UUID(OURS.to_id(number))
    assert (parsed.version, parsed.variant) == (8, uuid.RFC_4122)
    assert str(parsed) == OURS.to_id(number)


@given(NUMBERS)
def test_an_id_in_capitals_is_the_same_id(number: int) -> None:
    assert OURS.to_number(OURS.to_id(number).upper()) == number


def test_the_super_root_is_all_zero() -> None:
    assert OURS.to_id(SUPER_ROOT) == SUPER_ROOT_ID == str(uuid.UUID(int=0))
    assert OURS.to_number(SUPER_ROOT_ID) == SUPER_ROOT


@given(NUMBERS)
def test_an_id_of_another_database_is_refused(number: int) -> None:
    assert OURS.to_number(NodeIds(new_prefix()).to_id(number)) is None


@given(st.text(max_size=40) | st.uuids().map(str))
def test_other_text_is_refused(text: str) -> None:
    if text != SUPER_ROOT_ID:
        assert OURS.to_number(text) is None


@given(NUMBERS, st.data())
def test_an_id_with_one_character_changed_is_another_or_none(
    number: int, data: st.DataObject
) -> None:
    text = OURS.to_id(number)
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda c: c.lower() != text[place]))
    changed = text[:place] + other + text[place + 1 :]
    found = OURS.to_number(changed)
    assert found is None or (found != number and OURS.to_id(found) == changed.lower())


@pytest.mark.parametrize("tail", ["\n", " ", "0", "-"])
def test_an_id_with_something_behind_it_is_refused(tail: str) -> None:
    assert OURS.to_number(OURS.to_id(5) + tail) is None


def test_the_number_zero_has_no_id_but_the_super_roots() -> None:
    assert OURS.to_number(OURS.to_id(1)[:24] + "0" * 12) is None


@pytest.mark.parametrize("prefix", ["", "x", PREFIX[:-1], PREFIX.upper() + "0"])
def test_a_malformed_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a node id prefix"):
        NodeIds(prefix)


def test_prefixes_are_valid_and_differ() -> None:
    prefixes = {new_prefix() for _ in range(500)}
    assert len(prefixes) == 500
    for prefix in prefixes:
        NodeIds(prefix)
