import os
from pathlib import Path

import pytest

from tools.errors import OperatorError
from tools.roots import Root, from_arguments, from_mapping, state_directory_name


def test_a_directory_is_called_by_its_own_name() -> None:
    assert from_arguments(["/mnt/media"]) == (Root("media", "/mnt/media"),)


def test_a_name_can_be_given(tmp_path: Path) -> None:
    assert from_arguments([f"photos={tmp_path}/a"]) == (Root("photos", f"{tmp_path}/a"),)


def test_an_equals_sign_after_a_slash_belongs_to_the_path() -> None:
    assert from_arguments(["/mnt/a=b"]) == (Root("a=b", "/mnt/a=b"),)


def test_a_relative_directory_is_below_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert from_arguments(["a/b/"]) == (Root("b", f"{tmp_path}/a/b"),)
    assert from_arguments(["."]) == (Root(tmp_path.name, str(tmp_path)),)
    assert from_arguments(["x/../y"]) == (Root("y", f"{tmp_path.resolve()}/y"),)


def test_a_root_that_is_a_link_keeps_the_path_that_clients_know(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "media").symlink_to("disk")
    assert from_arguments([str(tmp_path / "media")]) == (Root("media", str(tmp_path / "media")),)


def test_the_root_of_the_filesystem_has_a_name() -> None:
    assert from_arguments(["/"]) == (Root("root", "/"),)


def test_a_root_need_not_exist(tmp_path: Path) -> None:
    assert from_mapping({"gone": f"{tmp_path}/gone"}) == (Root("gone", f"{tmp_path}/gone"),)


@pytest.mark.parametrize(
    "words", [[""], ["a="], ["="], ["..=/x"], ["=/x"], ["a\nb=/x"], ["/mnt/caf\udce9"], ["/a\0b"]]
)
def test_an_unfit_name_or_path_is_refused_in_one_line(words: list[str]) -> None:
    with pytest.raises(OperatorError) as caught:
        from_arguments(words)
    assert "\n" not in str(caught.value)
    assert "NAME=DIR" in str(caught.value)


def test_two_of_a_name_are_refused() -> None:
    with pytest.raises(OperatorError, match=r"both called 'photos'; name one with NAME=DIR"):
        from_arguments(["/mnt/a/photos", "/mnt/b/photos"])


@pytest.mark.parametrize("pair", [("a", "a/b"), ("a/b/c", "a"), ("link", "a/b"), ("a", "link")])
def test_one_root_inside_another_is_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    watches = {str(number): f"{tmp_path}/{path}" for number, path in enumerate(pair)}
    with pytest.raises(OperatorError, match=r"one lies in the other|the same directory"):
        from_mapping(watches)


def test_a_common_beginning_of_the_name_is_no_containment(tmp_path: Path) -> None:
    assert len(from_arguments([f"{tmp_path}/a", f"{tmp_path}/abc"])) == 2


def test_the_same_directory_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="the same directory"):
        from_arguments([str(tmp_path), f"other={tmp_path}/"])


def test_each_set_of_roots_has_a_directory_of_its_own() -> None:
    one, other = Root("a", "/mnt/a"), Root("b", "/mnt/b")
    names = {
        state_directory_name(roots)
        for roots in [(one,), (other,), (one, other), (Root("a", "/x"),)]
    }
    assert len(names) == 4
    assert state_directory_name((one, other)).startswith("a-b-")


def test_neither_order_nor_name_changes_which_directory_it_is() -> None:
    names = [
        state_directory_name(from_mapping(watches))[-8:]
        for watches in ({"a": "/mnt/a", "b": "/mnt/b"}, {"x": "/mnt/b", "y": "/mnt/a"})
    ]
    assert names[0] == names[1]


def test_odd_names_make_plain_directories() -> None:
    name = state_directory_name((Root("Фото / 2024", "/mnt/a"), Root("x" * 100, "/mnt/b")))
    assert name.isascii()
    assert "/" not in name
    assert len(name) <= 49


@pytest.mark.parametrize("path", ["media", "./media", "../media", "."])
def test_a_file_names_whole_paths(path: str) -> None:
    with pytest.raises(OperatorError, match=r"^a: .* is relative; give a path that begins with /$"):
        from_mapping({"a": path})


def test_a_home_directory_may_be_short() -> None:
    assert from_mapping({"a": "~/media"})[0].path == str(Path("~/media").expanduser())


@pytest.mark.parametrize("kind", ["file", "fifo", "link"])
def test_what_is_no_directory_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "fifo":
        os.mkfifo(place)
    else:
        (tmp_path / "file").touch()
        place.symlink_to("file")
    with pytest.raises(OperatorError, match="this is no directory"):
        from_arguments([str(place)])
    with pytest.raises(OperatorError, match="this is no directory"):
        from_mapping({"a": str(place)})


def test_a_broken_link_is_an_absent_root(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("absent")
    assert from_arguments([f"{tmp_path}/link"])[0].name == "link"
