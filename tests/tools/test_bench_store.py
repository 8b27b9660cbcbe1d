"""The load generator of the file store does what it counts."""

import asyncio
from pathlib import Path

import pytest

from tests.api.filetracker.tracking import tracked
from tools.bench import store_load
from tools.errors import OperatorError


def test_what_is_put_is_stored_as_often_as_it_is_counted(tmp_path: Path) -> None:
    with tracked(tmp_path) as store:
        assert store_load.is_up(store.server.port)
        rate = asyncio.run(store_load._load(store.server.port, "put", 1024, 0.5))
        stored = sum(1 for path in (store.path / "load").glob("*/*"))
        assert 0 < rate * 0.5 <= stored


def test_a_file_is_got_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tracked(tmp_path) as store:
        store_load.main([str(store.server.port), "get", "1000", "0.2"])
        assert float(capsys.readouterr().out) > 0


def test_refusals_are_no_answers(tmp_path: Path) -> None:
    with tracked(tmp_path) as store, pytest.raises(OperatorError, match="404"):
        asyncio.run(store_load._load(store.server.port, "get", 0, 0.1))
