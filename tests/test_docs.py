"""What the documents say is true: commands, options, keys, versions."""

import argparse
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from tools import cli, document

PROJECT = Path(__file__).parents[1]
README = (PROJECT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def console_lines() -> list[list[str]]:
    return [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"nasfeed {name}", exit_on_error=False)
    module: cli.CommandModule = import_module(cli.COMMANDS[name].module)
    module.configure(parser)
    return parser


def table(heading: str) -> Iterator[list[str]]:
    """Yield the cells of each row of the table below a heading."""
    section = re.split(rf"^## {heading}\n", README, flags=re.MULTILINE)[1].split("\n## ")[0]
    for line in section.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_the_two_commands_are_the_readmes_first() -> None:
    commands = [words[:2] for words in console_lines()]
    assert commands[:2] == [["make", "serve"], ["make", "test"]]


def test_make_has_every_target_that_is_named() -> None:
    for target in set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE)):
        done = subprocess.run(
            ["make", "--dry-run", target, "DIR=/x"], check=False, capture_output=True, cwd=PROJECT
        )
        assert done.returncode == 0, (target, done.stderr)


def test_make_help_lists_every_target() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (help.*)$", makefile, re.MULTILINE)[0].split()
    shown = subprocess.run(
        ["make", "help"], check=True, capture_output=True, text=True, cwd=PROJECT
    )
    assert re.findall(r"^  make (\w+)", shown.stdout, re.MULTILINE) == phony


def test_every_example_is_understood() -> None:
    examples = [words[1:] for words in console_lines() if words[0] == "nasfeed"]
    examples += [
        shlex.split(line.partition("  ")[2].partition("   ")[0])[1:]
        for line in cli.EXAMPLES.splitlines()
        if line.startswith("  nasfeed ")
    ]
    assert len(examples) > 10
    for name, *words in examples:
        if name != "serve":
            parser_of(name).parse_args(words)


def test_every_command_is_documented() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("Commands")}
    assert list(rows) == [f"nasfeed {name}" for name in cli.COMMANDS]


@pytest.mark.parametrize("name", [name for name in cli.COMMANDS if name != "serve"])
def test_every_option_has_a_help_text(name: str) -> None:
    for action in parser_of(name)._actions:
        assert action.help, action


def test_every_key_of_the_configuration_is_documented() -> None:
    rows = {row[0].strip("`"): row for row in table("Configuration")}
    assert set(rows) == set(document.known_keys())
    assert all(len(row) == 3 and row[2] for row in rows.values())


def test_the_defaults_in_the_table_are_the_real_ones() -> None:
    """Numbers and words; what is computed or said in a sentence is left out."""
    real = msgspec.to_builtins(document.Document())
    for key, default, _ in table("Configuration"):
        section, _, name = key.strip("`").rpartition(".")
        value = (real[section] if section else real)[name]
        if isinstance(value, bool):
            assert default == str(value).lower(), key
        elif isinstance(value, int | float):
            assert float(default) == value, key
        elif isinstance(value, str):
            assert default.startswith(f"`{value}`"), key
        elif value:
            assert default == str(value), key


def test_the_example_configuration_is_read() -> None:
    for block in blocks("yaml"):
        assert document.parse(block, "README.md").watches


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    changelog = (PROJECT / "CHANGELOG.md").read_text()
    versions = re.findall(r"(?m)^## \[(.*?)\] - (?:\d{4}-\d\d-\d\d|Unreleased)$", changelog)
    assert versions[0] == project["version"]


def test_the_lock_holds_every_dependency_with_hashes_and_no_place() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    for lock, wanted in {
        ".requirements.lock": project["project"]["dependencies"],
        ".requirements-dev.lock": project["dependency-groups"]["dev"],
    }.items():
        text = (PROJECT / lock).read_text()
        locked = re.findall(r"^([a-z0-9._-]+)==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)
        names = {re.split(r"[<>=~!;\[ ]", line)[0].lower().replace("_", "-") for line in wanted}
        assert names <= set(locked)
        assert len(locked) == len(re.findall(r"^\S+==", text, re.MULTILINE))
        assert "://" not in text


def test_both_locks_agree() -> None:
    pins = [
        set(re.findall(r"^(\S+==\S+)", (PROJECT / lock).read_text(), re.MULTILINE))
        for lock in (".requirements.lock", ".requirements-dev.lock")
    ]
    assert pins[0] <= pins[1]
