import json
from pathlib import Path
from typing import Any

import pytest

from tests.tools.commanded import commanded
from tools import cli
from tools.control import Arguments, Report
from tools.errors import OperatorError

Capture = pytest.CaptureFixture[str]


async def confirm(arguments: Arguments, _: Report) -> dict[str, Any]:
    if arguments != {"root": "media"}:
        raise OperatorError("there is no such root")
    return {"root": "media"}


def test_the_server_is_told(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    with commanded(database, {"confirm-removal": confirm}):
        assert cli.main(["confirm-removal", "media", "--db", str(database)]) == 0
        assert capsys.readouterr().out == "what is there now is taken for media\n"
        assert cli.main(["confirm-removal", "media", "--db", str(database), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"root": "media"}


def test_an_unknown_root_is_an_error(tmp_path: Path, capsys: Capture) -> None:
    database = tmp_path / "log.db"
    with commanded(database, {"confirm-removal": confirm}):
        assert cli.main(["confirm-removal", "x", "--db", str(database)]) == 1
    assert capsys.readouterr().err == "nasfeed: there is no such root\n"
