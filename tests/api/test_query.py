"""Which cursors are taken, and what becomes of odd page sizes."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.query import PAGE_DEFAULT, PAGE_MAX, ChangesQuery, CursorError, QueryError, parse


def test_nothing_asked_is_the_beginning() -> None:
    assert parse(b"") == ChangesQuery(0, PAGE_DEFAULT)


@given(st.integers(0, 2**63 - 1))
def test_every_position_is_taken(cursor: int) -> None:
    assert parse(b"cursor=%d" % cursor).cursor == cursor


@pytest.mark.parametrize(
    "cursor",
    [
        "", "-1", "-0", "+1", "1.0", "1_0", "01", "00", " 1", "1 ", "1e3", "0x1", "abc", "null",
        "9223372036854775808", "99999999999999999999", "9" * 5000, "%D9%A1", "1%00", "1%0A",
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused(cursor: str) -> None:
    with pytest.raises(CursorError, match="2\\^63"):
        parse(f"cursor={cursor}".encode())


@pytest.mark.parametrize(
    "query", [b"cursor=1&cursor=1", b"cursor=1&a=b&cursor=2", b"cursor&cursor="]
)
def test_a_repeated_cursor_is_refused(query: bytes) -> None:
    with pytest.raises(CursorError, match="more than once"):
        parse(query)


@pytest.mark.parametrize(
    ("size", "limit"),
    [
        ("1", 1), ("17", 17), ("007", 7), ("10000", 10_000), ("10001", PAGE_MAX),
        ("9" * 5000, PAGE_MAX), ("0", PAGE_DEFAULT), ("000", PAGE_DEFAULT), ("-1", PAGE_DEFAULT),
        ("abc", PAGE_DEFAULT), ("", PAGE_DEFAULT), ("1.5", PAGE_DEFAULT), ("1_0", PAGE_DEFAULT),
    ],
)  # fmt: skip
def test_a_page_size_is_a_wish(size: str, limit: int) -> None:
    assert parse(f"max_size={size}".encode()).limit == limit


def test_log_ids_are_all_kept() -> None:
    assert parse(b"log_id=a&cursor=4&log_id=").log_ids == ("a", "")


@given(st.binary(max_size=60))
def test_no_query_string_does_worse_than_be_refused(query: bytes) -> None:
    with contextlib.suppress(QueryError):
        assert 0 <= parse(query).cursor < 2**63
