"""Every question asked of the tree is answered as the model answers it."""

from hypothesis import given
from hypothesis import strategies as st

from eventlog.events import SUPER_ROOT, Content, Created, Modified, Moved, Record
from projections.tree import Node, Tree
from tests.eventlog.helpers import directory_state, file_state, root_state
from tests.model import OUTSTANDING, Model
from tests.projections.memory import holding, store
from tests.strategies import INODES, histories

LIMITS = st.integers(1, 5)


def numbers(nodes: list[Node]) -> list[int]:
    return [node.number for node in nodes]


@given(histories())
def test_nodes_are_those_of_the_model(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    assert tree.count() == len(model.states)
    assert tree.count_events() == len(records)
    for number in range(len(records) + 2):
        node = tree.node(number)
        if number in model.states:
            assert node == Node(number, model.last[number][0], model.states[number])
        else:
            assert node is None


@given(histories())
def test_children_are_those_of_the_model(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for parent in [SUPER_ROOT, *model.last]:
        assert sorted(numbers(tree.children(parent))) == model.children(parent)
        assert tree.has_children(parent) == bool(model.children(parent))
        for name in {s.name for s in model.states.values()} | {b"none"}:
            child, there = tree.child(parent, name), model.at(parent, name)
            assert (child.number in there) if child else there == []


@given(histories())
def test_many_places_and_files_are_found_as_one_by_one(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    names = {s.name for s in model.states.values()} | {b"none%d" % i for i in range(40)}
    places = [(parent, name) for parent in [SUPER_ROOT, *model.last] for name in names]
    at = tree.children_at(places)
    files = [(fs, ino) for fs in (0, 7, 8) for ino in [*INODES, *range(900, 940)]]
    of = tree.by_files([*files, *files])
    for place in places:
        there = model.at(*place)  # histories here may have several at one place
        assert (at[place].number in there) if place in at else there == []
    assert of == {file: tree.by_file(*file) for file in files}


@given(histories())
def test_many_nodes_and_paths_are_found_as_one_by_one(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    numbers = [*model.last, *range(2000, 2040), *model.last]
    found = tree.nodes(numbers)
    assert found == {n: node for n in numbers if (node := tree.node(n)) is not None}
    below = [node for node in found.values() if node.state.parent != SUPER_ROOT]
    assert tree.paths(below) == [tree.path(node.number) for node in below]


@given(histories(), LIMITS)
def test_pages_of_children_hold_each_name_once_and_in_order(
    records: list[Record], limit: int
) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for parent in [SUPER_ROOT, *model.last]:
        names: list[bytes] = []
        while page := tree.children_after(parent, names[-1] if names else b"", limit):
            assert len(page) <= limit
            names += [node.state.name for node in page]
        assert set(names) == {model.states[n].name for n in model.children(parent)}
        assert names == sorted(names)


@given(histories())
def test_files_are_found_by_identity_the_oldest_first(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for fs in {0, 7, -(2**63), 1}:
        for ino in (*INODES, 8):
            assert numbers(tree.by_file(fs, ino)) == model.by_file(fs, ino)


@given(histories(), LIMITS)
def test_outstanding_content_is_found_in_pages(records: list[Record], limit: int) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for content in OUTSTANDING:
        found: list[int] = []
        after = 0
        while page := tree.outstanding(content, after, limit):
            assert len(page) <= limit
            found += numbers(page)
            after = page[-1].position
        assert found == model.outstanding(content)
    counts = {content: len(model.outstanding(content)) for content in OUTSTANDING}
    assert tree.count_outstanding() == {c: count for c, count in counts.items() if count}


@given(histories())
def test_descendants_are_all_below_the_deepest_first(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for number in model.last:
        below = tree.descendants(number)
        assert len(below) == len(set(below))
        assert set(below) == model.below(number)
        assert tree.count_below(number) == len(below) + 1
        for place, node in enumerate(below):
            assert model.states[node].parent not in below[:place]


@given(histories())
def test_paths_lead_from_the_root(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    for number in [*model.last, 999]:
        chain = model.chain(number)
        assert tree.path(number) == model.path(number)
        names = [model.states[n].name for n in chain or ()]
        assert tree.names(number) == (names or None)
        assert tree.chain(number) == list(zip(chain or (), names, strict=True))
        if chain:
            assert tree.ancestors(number) == chain


@given(histories())
def test_a_path_resolves_to_a_node_with_that_path(records: list[Record]) -> None:
    tree, model = Tree(holding(records)), Model.of(records)
    roots = {model.states[n].target.rstrip(b"/") for n in model.children(SUPER_ROOT)}
    for number in model.states:
        path = model.path(number)
        found = path and tree.resolve(path)
        if found and len(roots) == len(model.children(SUPER_ROOT)) and b"" not in roots:
            assert model.path(found.number) == path


def directory(position: int, name: bytes, parent: int) -> Record:
    return Record(position, position, 0, Created("", directory_state(name, parent, position)))


ROOT = Record(1, 1, 0, Created("", root_state(target=b"/srv/root/")))
SLASH = Record(1, 1, 0, Created("", root_state(target=b"/")))
SMALL = [ROOT, directory(2, b"a", 1), directory(3, b"b", 2)]


def test_a_path_resolves_with_and_without_slashes_at_its_end() -> None:
    tree = Tree(holding(SMALL))
    for path in (b"/srv/root/a/b", b"/srv/root/a/b/", b"/srv/root//a//b//"):
        node = tree.resolve(path)
        assert node is not None
        assert node.number == 3
    root = tree.resolve(b"/srv/root")
    assert root is not None
    assert root.number == 1


def test_what_is_not_there_does_not_resolve() -> None:
    tree = Tree(holding(SMALL))
    for path in (b"", b"/", b"/srv", b"/srv/root2", b"/srv/root/a/c", b"/srv/root/a/b/c", b"a"):
        assert tree.resolve(path) is None


def test_the_root_of_the_whole_disk_has_a_path() -> None:
    tree = Tree(holding([SLASH, directory(2, b"a", 1)]))
    assert (tree.path(1), tree.path(2)) == (b"/", b"/a")
    assert tree.paths(tree.children(1)) == [b"/a"]
    for path, number in ((b"/", 1), (b"/a", 2)):
        node = tree.resolve(path)
        assert node is not None
        assert node.number == number


def test_directories_in_a_circle_hang_nowhere_and_stop_nobody() -> None:
    """Two moves that were seen at different times: each directory is in the other."""
    circle = Record(4, 2, 0, Moved("", directory_state(b"a", 3), 1, b"a"))
    tree = Tree(holding([*SMALL, circle]))
    assert (tree.path(2), tree.path(3), tree.names(2)) == (None, None, None)
    assert (tree.descendants(2), tree.descendants(3)) == ([3], [2])
    assert tree.descendants(1) == []
    assert set(tree.ancestors(2)) == {2, 3}


def test_the_path_of_a_root_follows_its_last_event() -> None:
    connection = holding(SMALL)
    tree = Tree(connection)
    assert tree.path(3) == b"/srv/root/a/b"
    moved = Modified("", root_state(target=b"/mnt"))
    store(connection, [Record(4, 1, 0, moved)])
    assert tree.path(3) == b"/mnt/a/b"


def test_a_deep_tree_has_paths() -> None:
    deep = [ROOT, *(directory(n, b"d", n - 1) for n in range(2, 3_000))]
    tree = Tree(holding(deep))
    path = tree.path(2_999)
    assert path is not None
    assert path.count(b"/d") == 2_998
    assert len(tree.descendants(1)) == 2_998


def test_hard_links_are_nodes_of_their_own() -> None:
    records = [ROOT] + [
        Record(n, n, 0, Created("", file_state(b"%d" % n, ino=5))) for n in (2, 3, 4)
    ]
    assert numbers(Tree(holding(records)).by_file(7, 5)) == [2, 3, 4]
    assert numbers(Tree(holding(records)).outstanding(Content.PENDING, 2, 10)) == [3, 4]
