import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from eventlog.errors import LogMissingError
from tools import cli
from tools.errors import OperatorError

Capture = pytest.CaptureFixture[str]

PROJECT = Path(__file__).parents[2]


def raising(error: BaseException) -> int:
    raise error


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], check=False, capture_output=True, text=True, cwd=PROJECT
    )


def test_help_shows_every_command_and_examples(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert "examples:" in out


def test_no_command_shows_the_help_and_is_wrong_usage(capsys: Capture) -> None:
    assert cli.main([]) == 2
    assert "examples:" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["fly"])
    assert caught.value.code == 2
    assert "invalid choice: 'fly'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["follow", "--help"], ["dump", "--help"]])
def test_help_waits_for_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, contextlib\n"
        "from tools import cli\n"
        "with contextlib.suppress(SystemExit): cli.main(sys.argv[1:])\n"
        "heavy = {'litestar', 'uvicorn', 'watcher.look', 'api', 'asyncio', 'magic', 'PIL'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    done = python("-c", code, *words)
    assert done.returncode == 0, done.stderr
    assert "usage: nasfeed" in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: nasfeed {name} " in out
    module = import_module(cli.COMMANDS[name].module)
    assert module.__doc__ is not None
    assert module.__doc__.splitlines()[0] in out


def test_the_version_is_that_of_the_project() -> None:
    wanted = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    done = python("-m", "tools", "--version")
    assert done.stdout in {
        f"nasfeed {wanted}\n",
        "nasfeed of an unknown version: it is not installed; run make install\n",
    }


@pytest.mark.parametrize("error", [OperatorError("do this"), LogMissingError("do this")])
def test_what_an_operator_can_mend_is_one_line(error: Exception, capsys: Capture) -> None:
    assert cli.guarded(lambda: raising(error)) == 1
    assert capsys.readouterr().err == f"nasfeed: {error}\n"


def test_a_fault_of_the_program_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.guarded(lambda: raising(ZeroDivisionError()))


def test_an_interrupt_is_quiet(capsys: Capture) -> None:
    assert cli.guarded(lambda: raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")
