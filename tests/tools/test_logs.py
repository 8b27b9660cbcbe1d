import io
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.clock import SystemClock
from tools import logs
from tools.errors import OperatorError
from tools.progress import Progress


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(logging.NOTSET)


def progress() -> Progress:
    return Progress(io.StringIO(), SystemClock())


def test_lines_go_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("before\n")
    logs.configure("info", str(file), progress())
    logging.getLogger("nasfeed.x").info("it is %s", "ready")
    logging.getLogger("nasfeed.x").debug("not shown")
    logging.getLogger("uvicorn.error").info("not shown either")
    lines = file.read_text().splitlines()
    assert lines[0] == "before"
    assert [line.split(" ", 2)[2] for line in lines[1:]] == ["INFO    it is ready"]


def test_a_name_cannot_forge_a_line(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    logs.configure("info", str(file), progress())
    logging.getLogger("nasfeed").warning("cannot read %s", "a\n2026 INFO fine\x1b[2J")
    assert file.read_text().count("\n") == 1
    assert r"a\n2026 INFO fine\x1b[2J" in file.read_text()


def test_a_traceback_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "server.log"
    logs.configure("info", str(file), progress())
    try:
        _ = 1 // 0
    except ZeroDivisionError:
        logging.getLogger("nasfeed").exception("that went wrong")
    assert "\nTraceback (most recent call last):\n" in file.read_text()


def test_without_a_file_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", None, progress())
    logging.getLogger("nasfeed").warning("careful")
    logging.getLogger("nasfeed").info("not shown")
    assert capsys.readouterr().err.endswith("WARNING careful\n")


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"^.*: Is a directory; give another file"):
        logs.configure("info", str(tmp_path), progress())
