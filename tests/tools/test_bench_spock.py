"""The load generator of the filesystem does what it counts."""

from pathlib import Path

import pytest

from tests.api.spockfs.spocking import spocked
from tools.bench import spock_load
from tools.errors import OperatorError


def test_all_operations_are_answered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with spocked(tmp_path) as disk:
        for number in range(spock_load.CONNECTIONS):
            disk.make(f"/load{number}", b"")
        port = str(disk.server.port)
        for operation in ("new", "kept", "put", "get"):
            spock_load.main([port, operation, "4096", "0.1"])
            assert float(capsys.readouterr().out) > 0
        assert disk.at("load0").stat().st_size >= 4096


def test_refusals_are_no_answers(tmp_path: Path) -> None:
    with spocked(tmp_path) as disk, pytest.raises(OperatorError, match="404"):
        spock_load.load(disk.server.port, "get", 4096, 0.1)
