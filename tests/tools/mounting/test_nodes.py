"""Numbers for the kernel: stable, shared by hard links, kept as long as they are needed."""

import errno

import pytest

from tools.mounting.nodes import ROOT, Nodes

DEVICE = 7


def placed(nodes: Nodes, name: bytes, inode: int, directory: int = ROOT) -> int:
    node = nodes.place(directory, name, (DEVICE, inode))
    node.lookups += 1
    return node.number


def test_names_of_one_file_have_one_number() -> None:
    nodes = Nodes()
    assert placed(nodes, b"a", 10) == placed(nodes, b"b", 10) != placed(nodes, b"c", 11)


def test_a_number_comes_back_after_the_kernel_has_forgotten_it() -> None:
    nodes = Nodes()
    number = placed(nodes, b"a", 10)
    nodes.forget(number, 1)
    with pytest.raises(OSError, match="forgotten"):
        nodes.path(number)
    assert placed(nodes, b"a", 10) == number


def test_files_of_other_filesystems_and_reused_inodes_have_numbers_of_their_own() -> None:
    nodes = Nodes()
    number = placed(nodes, b"a", 10)
    other = nodes.place(ROOT, b"mounted", (DEVICE + 1, 10))
    assert other.number != number
    nodes.remove(ROOT, b"a")
    nodes.disown(nodes[number])  # the kernel still refers to it, the server has it no more
    assert placed(nodes, b"new", 10) not in (number, other.number)


def test_paths_follow_what_is_moved() -> None:
    nodes = Nodes()
    directory = placed(nodes, b"d", 10)
    file = placed(nodes, b"f", 11, directory)
    assert nodes.path(file) == b"/d/f"
    nodes.move((ROOT, b"d"), (ROOT, b"e"))
    assert nodes.path(file) == b"/e/f"
    assert nodes.path(directory, b"x") == b"/e/x"
    assert nodes.path(ROOT) == b"/"
    assert nodes.child(ROOT, b"d") is None


def test_what_replaces_a_name_takes_it() -> None:
    nodes = Nodes()
    old, new = placed(nodes, b"f", 10), placed(nodes, b"g", 11)
    nodes.move((ROOT, b"g"), (ROOT, b"f"))
    assert nodes.path(new) == b"/f"
    with pytest.raises(OSError, match="removed") as failed:
        nodes.path(old)
    assert failed.value.errno == errno.ESTALE


def test_an_open_file_is_kept_although_it_is_forgotten() -> None:
    nodes = Nodes()
    number = placed(nodes, b"f", 10)
    nodes[number].opened = 1
    nodes.forget(number, 1)
    assert nodes.path(number) == b"/f"
    nodes[number].opened = 0
    nodes.drop(nodes[number])
    with pytest.raises(OSError, match="forgotten"):
        nodes.path(number)


def test_a_directory_is_kept_as_long_as_something_in_it_is_needed() -> None:
    nodes = Nodes()
    top = placed(nodes, b"top", 10)
    below = placed(nodes, b"below", 11, top)
    new = nodes.place_new(below, b"new")
    new.pending = 1
    nodes.forget(below, 1)
    nodes.forget(top, 1)
    assert nodes.path(new.number) == b"/top/below/new"
    nodes.move((below, b"new"), (below, b"newer"))
    assert nodes.path(new.number) == b"/top/below/newer"
    new.pending = 0
    nodes.drop(new)
    assert nodes.numbers() == [ROOT]
    assert nodes.names() == []


def test_who_wants_to_hears_of_what_is_forgotten() -> None:
    told: list[int] = []
    nodes = Nodes(told.append)
    number = placed(nodes, b"a", 10)
    nodes.forget(number, 1)
    assert told == [number]


def test_a_new_file_keeps_number_and_time_when_the_server_has_it() -> None:
    nodes = Nodes()
    node = nodes.place_new(ROOT, b"a")
    node.lookups += 1
    nodes.identify(node, (DEVICE, 10))
    nodes.present(node, 500, 400)
    assert (nodes.shown((DEVICE, 10), 500), nodes.shown((DEVICE, 10), 600)) == (400, 600)
    nodes.forget(node.number, 1)
    assert placed(nodes, b"a", 10) == node.number
    nodes.remove(ROOT, b"a")
    nodes.disown(nodes[node.number])
    assert placed(nodes, b"b", 10) != node.number
    assert nodes.shown((DEVICE, 10), 500) == 500


def test_directories_that_others_move_into_each_other_end_no_search() -> None:
    nodes = Nodes()
    one = nodes.place(ROOT, b"one", (DEVICE, 10))
    other = nodes.place(one.number, b"other", (DEVICE, 11))
    nodes.place(other.number, b"one", (DEVICE, 10))  # its old place is told late
    assert nodes.last_path(one).endswith(b"/other/one")
    with pytest.raises(OSError, match="moved"):
        nodes.path(one.number)
    nodes.place(ROOT, b"other", (DEVICE, 11))
    nodes.place(other.number, b"one", (DEVICE, 10))
    assert nodes.path(one.number) == b"/other/one"
