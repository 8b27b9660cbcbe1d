"""House rules that no linter knows. Each test names whoever breaks one."""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tools import cli

PROJECT = Path(__file__).parents[1]
PACKAGES = ("eventlog", "projections", "watcher", "api", "tools")

TOP_LEVEL = {
    *PACKAGES,
    *("tests", "pyproject.toml", "Makefile"),
    *("README.md", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md"),
}

FUNCTION_LINES_MAX = 50
FUNCTION_LINES_MEDIAN_MAX = 8
MODULE_LINES_MAX = 400
"""Blank ones are free."""

BANNED = {"helper", "helpers", "manager", "misc", "util", "utils", "offset", "offsets"}
"""Words that say nothing, and a synonym of position, which a cursor is called inside."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, str]]:
    """Yield the name and text of every module that is shipped."""
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            yield str(path.relative_to(PROJECT)), path.read_text()


def functions(text: str) -> Iterator[Function]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, Function))


def lines_of(function: Function) -> int:
    """Count the lines of a function; those of its docstring are free."""
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is None:
        return total
    return total - ((first.end_lineno or first.lineno) - first.lineno + 1)


def words(name: str) -> set[str]:
    """Split a name in either style into words."""
    return {word.lower() for word in re.split(r"_+|(?<=[a-z])(?=[A-Z])", name)}


def test_the_top_level_holds_only_what_was_agreed() -> None:
    listed = subprocess.run(
        # A checkout may belong to someone else than who tests it, as in a container.
        ["git", "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    found = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in found if not name.startswith(".")} == TOP_LEVEL


def test_a_package_file_holds_only_a_docstring() -> None:
    bodies = {name: ast.parse(text).body for name, text in modules() if "__init__" in name}
    assert bodies
    for name, body in bodies.items():
        assert [type(node) for node in body] == [ast.Expr], name


def test_functions_are_short() -> None:
    sizes = {(name, f.name): lines_of(f) for name, text in modules() for f in functions(text)}
    assert [where for where, size in sizes.items() if size > FUNCTION_LINES_MAX] == []
    assert statistics.median(sizes.values()) <= FUNCTION_LINES_MEDIAN_MAX


def test_modules_have_one_purpose() -> None:
    sizes = {name: sum(map(bool, text.splitlines())) for name, text in modules()}
    assert [(name, size) for name, size in sizes.items() if size > MODULE_LINES_MAX] == []


def test_names_say_what_they_are_for() -> None:
    names = [(name, Path(name).stem) for name, _ in modules()]
    names += [
        (name, node.name)
        for name, text in modules()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function | ast.ClassDef)
    ]
    assert [place for place in names if words(place[1]) & BANNED] == []


def test_every_suppression_names_its_rule() -> None:
    unnamed = re.compile(r"#\s*noqa(?!: [A-Z]+\d)|type: ignore(?!\[)")
    lines = [(name, line) for name, text in modules() for line in text.splitlines()]
    assert [place for place in lines if unnamed.search(place[1])] == []


def test_every_command_has_a_file_and_a_test_file() -> None:
    for name, command in cli.COMMANDS.items():
        module = name.replace("-", "_")
        assert command.module == f"tools.{module}"
        for path in (f"tools/{module}.py", f"tests/tools/test_{module}.py"):
            assert (PROJECT / path).is_file(), path


def test_test_folders_are_no_packages() -> None:
    """One of the same name as a package would hide it from the tests."""
    assert list((PROJECT / "tests").rglob("__init__.py")) == []
