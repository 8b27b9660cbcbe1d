"""What a page changes, told to people who keep the whole tree."""

from tests.tools.client.pages import RESET, node, page, root
from tools.client.mirror import Mirror
from tools.client.wire import Page
from tools.mirrored import MirrorSightings


def told(*pages: Page) -> list[list[tuple[str, str, str]]]:
    seen = MirrorSightings(Mirror(), {"root": "/mnt/media"}.get)
    return [
        [(sighting.change, sighting.path, sighting.from_path) for sighting, _ in seen.see(each)]
        for each in pages
    ]


TREE = page(4, root(), node("d", "dir", size=None), node("f", "file", "d"))


def test_a_first_tree_is_all_new_and_told_once_it_is_whole() -> None:
    halves = page(2, node("f", "file", "d"), has_more=True), page(4, root(), node("d", size=None))
    assert told(*halves) == [
        [],
        [
            ("created", "/mnt/media", ""),
            ("created", "/mnt/media/d", ""),
            ("created", "/mnt/media/d/file", ""),
        ],
    ]


def test_changes_are_told_in_their_order_with_old_and_new_places() -> None:
    moved = page(7, node("d", "moved", size=None), node("f", "renamed", "d"), node("a"))
    assert told(TREE, moved)[1] == [
        ("moved", "/mnt/media/moved", "/mnt/media/dir"),
        ("moved", "/mnt/media/moved/renamed", "/mnt/media/dir/file"),
        ("created", "/mnt/media/a", ""),
    ]


def test_what_is_gone_is_told_where_it_was() -> None:
    assert told(TREE, page(9, "d", "f", "unknown"))[1] == [
        ("removed", "/mnt/media/dir", ""),
        ("removed", "/mnt/media/dir/file", ""),
    ]


def test_what_comes_again_unchanged_is_not_told() -> None:
    again = page(9, node("f", "file", "d"), node("d", "dir", size=None))
    assert told(TREE, again, page(10, node("f", "file", "d", size=9)))[1:] == [
        [],
        [("modified", "/mnt/media/dir/file", "")],
    ]


def test_after_a_reset_only_what_differs_is_told() -> None:
    anew = page(2, root(), has_more=True), page(5, node("d", "dir", size=None), node("n"))
    assert told(TREE, RESET, *anew)[1:] == [
        [],
        [],
        [("removed", "/mnt/media/dir/file", ""), ("created", "/mnt/media/n", "")],
    ]


def test_a_root_that_the_server_does_not_place_has_its_name() -> None:
    seen = MirrorSightings(Mirror(), lambda _: None)
    assert next(sighting.path for sighting, _ in seen.see(TREE)) == "media"


def test_a_node_without_its_directory_is_told_by_its_name() -> None:
    assert told(page(1, node("f", "file", "nowhere")))[0] == [("created", "…/file", "")]
