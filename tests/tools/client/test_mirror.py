"""The rules by which a client applies what the feed says."""

import msgspec
import pytest

from tests.tools.client.pages import RESET, node, page, root
from tools.client.errors import ProtocolError
from tools.client.mirror import Mirror, path, settled, trail
from tools.client.wire import START, Node, Page, Position


def mirrored(*pages: Page) -> Mirror:
    mirror = Mirror()
    for each in pages:
        mirror.apply(each)
    return mirror


def test_a_node_replaces_what_was_known_and_a_removal_ends_it() -> None:
    mirror = mirrored(page(3, root(), node("a"), node("b")))
    mirror.apply(page(5, "a", node("b", "c", size=7)))
    assert mirror.nodes == {"root": root(), "b": node("b", "c", size=7)}
    assert mirror.position == Position(5, "log")


def test_the_order_within_a_page_counts() -> None:
    assert "a" in mirrored(page(1, root()), page(3, "a", node("a"))).nodes
    assert "a" not in mirrored(page(1, root()), page(3, node("a"), "a")).nodes


def test_a_page_that_comes_twice_does_no_harm() -> None:
    pages = page(2, root(), node("a")), page(4, node("b"), "a")
    once, twice = mirrored(*pages), mirrored(*pages, pages[1])
    assert once.nodes == twice.nodes
    assert once.position == twice.position


def test_nothing_is_told_before_the_first_whole_tree() -> None:
    mirror = mirrored(page(1, root(), has_more=True))
    assert (mirror.nodes, mirror.is_whole) == ({}, False)
    mirror.apply(page(2, node("a")))
    assert (set(mirror.nodes), mirror.is_whole) == ({"root", "a"}, True)


def test_the_old_tree_is_kept_until_the_new_one_is_whole() -> None:
    mirror = mirrored(page(9, root(), node("old")))
    mirror.apply(RESET)
    assert mirror.position == START
    mirror.apply(page(1, root("new"), has_more=True, log_id="other"))
    assert (set(mirror.nodes), mirror.is_whole) == ({"root", "old"}, False)
    mirror.apply(page(2, node("new")))
    assert (set(mirror.nodes), mirror.is_whole) == ({"root", "new"}, True)


def test_an_answer_to_cursor_0_says_nothing_of_what_is_gone_so_that_goes() -> None:
    mirror = mirrored(page(9, root(), node("old")), RESET, page(1, root()))
    assert set(mirror.nodes) == {"root"}


def test_a_second_reset_begins_the_new_tree_anew() -> None:
    mirror = mirrored(page(9, root()), RESET, page(5, node("half"), has_more=True), RESET)
    mirror.apply(page(2, root("new")))
    assert mirror.nodes == {"root": root("new")}


def test_an_empty_log_is_a_whole_tree() -> None:
    mirror = mirrored(page(0))
    assert (mirror.nodes, mirror.is_whole) == ({}, True)


def test_a_copy_lives_by_itself_even_in_the_middle() -> None:
    mirror = mirrored(page(1, root(), has_more=True))
    other = mirror.copy()
    mirror.apply(page(2, node("a")))
    other.apply(page(3, node("b")))
    assert (set(mirror.nodes), set(other.nodes)) == ({"root", "a"}, {"root", "b"})


def test_what_is_no_change_applies_nothing() -> None:
    mirror = mirrored(page(1, root()))
    bad = page(5, "root", node("a"))
    bad.changes.append(msgspec.Raw(b'{"removed": 1}'))
    with pytest.raises(ProtocolError, match="no change of a feed"):
        mirror.apply(bad)
    assert (set(mirror.nodes), mirror.position.cursor) == ({"root"}, 1)


def test_a_path_is_known_when_all_above_is() -> None:
    file = node("f", "f.txt", "d")
    nodes = mirrored(page(1, file)).nodes
    assert path(nodes, file) is None
    nodes = mirrored(page(3, file, node("d", "sub", size=None), root())).nodes
    assert path(nodes, file) == "media/sub/f.txt"
    assert [each.id for each in trail(nodes, file) or ()] == ["root", "d", "f"]


def test_a_loop_has_no_path() -> None:
    looped = {"a": node("a", parent_id="b"), "b": node("b", parent_id="a")}
    assert path(looped, looped["a"]) is None


def test_names_are_bytes() -> None:
    assert node("x", "é").raw_name == "é".encode()
    odd = msgspec.convert(
        {"id": "x", "parent_id": "r", "name": "\ufffd", "is_directory": False, "name_raw": "/w=="},
        Node,
    )
    assert odd.raw_name == b"\xff"


@pytest.mark.parametrize(
    "refused",
    [RESET, page(9, log_id="other"), page(4, node("a"))],
    ids=["reset", "another log", "a cursor that went back"],
)
def test_what_means_a_new_beginning_becomes_a_plain_reset(refused: Page) -> None:
    assert settled(Position(5, "log"), refused) == RESET
    with pytest.raises(ProtocolError, match="refuses even cursor 0"):
        settled(START, RESET)


def test_a_log_that_was_not_named_before_is_no_other_log() -> None:
    for before, now in (("", "log"), ("log", "")):
        assert settled(Position(5, before), page(5, log_id=now)) == page(5, log_id=now)


def test_cursor_0_of_another_log_is_reset_once() -> None:
    assert settled(Position(0, "old"), RESET) == RESET


def test_a_page_that_leads_nowhere_ends_it() -> None:
    with pytest.raises(ProtocolError, match="after cursor 5 there is more"):
        settled(Position(5, "log"), page(5, has_more=True))
