import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.commanded import commanded
from tools import cli
from tools.control import Arguments, Report
from tools.progress import Step

Capture = pytest.CaptureFixture[str]


async def rehash(_: Arguments, report: Report) -> dict[str, Any]:
    report(Step("hashing", "files", 1, 2))
    return {"files": 1200, "failed": 0}


async def rehash_badly(_: Arguments, _report: Report) -> dict[str, Any]:
    return {"files": 2, "failed": 1}


def test_it_waits_and_says_how_many(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    with commanded(database, {"rehash": rehash}):
        assert cli.main(["rehash", "--db", str(database)]) == 0
    assert capsys.readouterr() == ("1,200 files hashed, 0 of them failed\n", "")


def test_a_failure_shows_in_the_status(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    with commanded(database, {"rehash": rehash_badly}):
        assert cli.main(["rehash", "--db", str(database), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"files": 2, "failed": 1}


def test_without_a_server_it_says_what_to_do(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["rehash", "--db", f"{tmp_path}/log.db"]) == 1
    assert capsys.readouterr().err == (
        f"nasfeed: {tmp_path}/log.db: no server runs on this database; "
        "start one with nasfeed serve\n"
    )
