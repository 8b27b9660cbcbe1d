import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tools.commanded import commanded
from tests.watcher.nas import Nas, running, write
from tools import cli
from tools.commands import rescan_roots
from tools.control import Arguments, Report
from tools.errors import OperatorError
from tools.progress import Step

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Nas]:
    """Two roots, of which the server notices nothing by itself."""
    with running(tmp_path, "one", "two", backend="poll", poll_interval=1e9) as nas:
        nas.wait(lambda: all(each.scans for each in nas.statuses()), "the first scans are done")
        yield nas


def rescanned(nas: Nas, *names: str) -> dict[str, int]:
    found = asyncio.run(rescan_roots(nas.system, names, lambda _: None))
    return {root["root"]: root["events"] for root in found["roots"]}


def test_what_nobody_told_is_in_the_log_when_it_ends(nas: Nas) -> None:
    file = write(nas.roots["two"] / "file")
    assert rescanned(nas) == {"one": 0, "two": 1}
    assert nas.number(file)
    assert rescanned(nas) == {"one": 0, "two": 0}


def test_only_the_roots_that_are_named_are_compared(nas: Nas) -> None:
    for root in nas.roots.values():
        write(root / "file")
    assert rescanned(nas, "one") == {"one": 1}
    assert [status.scans for status in nas.statuses()] == [2, 1]


def test_an_unknown_root_is_an_error_that_names_the_others(nas: Nas) -> None:
    with pytest.raises(OperatorError, match="there is no root 'three'; the roots are: one, two"):
        rescanned(nas, "three")


def test_an_absent_root_is_an_error(nas: Nas) -> None:
    shutil.rmtree(nas.roots["one"])
    with pytest.raises(OperatorError, match="root one is offline: "):
        rescanned(nas, "one")


async def rescan(arguments: Arguments, report: Report) -> dict[str, Any]:
    report(Step("comparing", "entries", 1, 2))
    names = arguments["roots"] or ["a", "b"]
    return {"roots": [{"root": n, "entries": 1200, "events": 7 * (n == "a")} for n in names]}


def test_the_command_says_what_was_found(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    with commanded(database, {"rescan": rescan}):
        assert cli.main(["rescan", "--db", str(database)]) == 0
        assert capsys.readouterr() == (
            "a: 1,200 entries, 7 events\nb: 1,200 entries, nothing new\n",
            "",
        )
        assert cli.main(["rescan", "--db", str(database), "--root", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "roots": [{"root": "b", "entries": 1200, "events": 0}]
    }
