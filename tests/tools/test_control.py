import asyncio
import contextlib
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from tools import control
from tools.control import Arguments, CommandFailedError, Handler, NotRunningError, Report
from tools.errors import OperatorError
from tools.progress import Step


async def double(arguments: Arguments, report: Report) -> dict[str, Any]:
    for done in (1, 2):
        report(Step("doubling", "numbers", done, 2))
    return {"number": 2 * arguments["number"]}


async def refuse(_arguments: Arguments, _report: Report) -> dict[str, Any]:
    raise OperatorError("not today")


async def stumble(_arguments: Arguments, _report: Report) -> dict[str, Any]:
    raise ZeroDivisionError("by nothing")


async def unspeakable(_arguments: Arguments, _report: Report) -> dict[str, Any]:
    return {"what": object()}


T = TypeVar("T")
COMMANDS: dict[str, Handler] = {
    "double": double,
    "refuse": refuse,
    "stumble": stumble,
    "unspeakable": unspeakable,
}


def while_serving(database: Path, work: Callable[[], T]) -> T:
    async def both() -> T:
        async with control.serving(str(database), COMMANDS):
            return await asyncio.to_thread(work)

    return asyncio.run(both())


def test_a_command_reports_steps_and_returns_a_result(tmp_path: Path) -> None:
    database, steps = tmp_path / "log.db", list[Step]()
    call = lambda: control.call(str(database), "double", {"number": 21}, steps.append)  # noqa: E731
    assert while_serving(database, call) == {"number": 42}
    assert [step.done for step in steps] == [1, 2]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("refuse", "not today"),
        ("stumble", "ZeroDivisionError: by nothing; see the server's log"),
        ("unspeakable", "see the server's log"),
        ("fly", "this server knows no command 'fly'"),
    ],
)
def test_what_goes_wrong_in_the_server_is_told_to_the_client(
    tmp_path: Path, command: str, message: str
) -> None:
    database = tmp_path / "log.db"
    with pytest.raises(CommandFailedError, match=message):
        while_serving(database, lambda: control.call(str(database), command, {}))


def test_the_server_goes_on_after_a_fault(tmp_path: Path) -> None:
    database = tmp_path / "log.db"

    def calls() -> dict[str, Any]:
        for _ in range(3):
            with contextlib.suppress(CommandFailedError):
                control.call(str(database), "stumble", {})
        return control.call(str(database), "double", {"number": 1})

    assert while_serving(database, calls) == {"number": 2}


def test_only_the_owner_may_command(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    path = Path(control.socket_path(str(database)))
    assert stat.S_IMODE(while_serving(database, path.stat).st_mode) == 0o600


def test_the_socket_is_gone_when_the_server_is(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    while_serving(database, lambda: None)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotRunningError, match="no server runs on this database"):
        control.call(str(database), "double", {})


def test_a_socket_that_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    left = socket.socket(socket.AF_UNIX)
    left.bind(control.socket_path(str(database)))
    left.close()
    with pytest.raises(NotRunningError):
        control.call(str(database), "double", {"number": 4})
    result = while_serving(database, lambda: control.call(str(database), "double", {"number": 4}))
    assert result == {"number": 8}


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 200)
    directory.mkdir()
    database = directory / "log.db"
    result = while_serving(database, lambda: control.call(str(database), "double", {"number": 4}))
    assert result == {"number": 8}


def test_a_name_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="take a shorter one"):
        while_serving(tmp_path / ("n" * 90), lambda: None)


@pytest.mark.parametrize("sent", [b"nonsense\n", b"{}\n", b"x" * 100_000 + b"\n", b"[1]"])
def test_what_is_no_request_is_refused(tmp_path: Path, sent: bytes) -> None:
    database = tmp_path / "log.db"

    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(control.socket_path(str(database)))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                return connection.recv(10_000)
            return b""

    answer = while_serving(database, talk)
    assert answer.startswith(b'{"ok":false,"error":"this is no request') or (
        not answer and len(sent) > 65536
    )


def test_a_command_that_still_runs_ends_with_the_server(tmp_path: Path) -> None:
    database = tmp_path / "log.db"
    cancelled: list[bool] = []

    async def begun_and_stopped() -> None:
        begun = asyncio.Event()

        async def hang(_arguments: Arguments, _report: Report) -> dict[str, Any]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(True)
            return {}

        async with control.serving(str(database), {"hang": hang}):
            client = asyncio.create_task(asyncio.to_thread(control.call, str(database), "hang", {}))
            await begun.wait()
        with pytest.raises(CommandFailedError, match="the server ended before hang was done"):
            await client

    asyncio.run(begun_and_stopped())
    assert cancelled == [True]


def test_a_client_that_goes_away_does_not_stop_the_command(tmp_path: Path) -> None:
    database = tmp_path / "log.db"

    async def left_alone() -> None:
        begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def work(_arguments: Arguments, report: Report) -> dict[str, Any]:
            begun.set()
            await go_on.wait()
            for done in range(100):
                report(Step("working", "things", done))
                await asyncio.sleep(0)
            ended.set()
            return {}

        async with control.serving(str(database), {"work": work}):
            _, writer = await asyncio.open_unix_connection(control.socket_path(str(database)))
            writer.write(b'{"command":"work"}\n')
            await begun.wait()
            writer.close()
            await writer.wait_closed()
            go_on.set()
            await asyncio.wait_for(ended.wait(), 30)

    asyncio.run(left_alone())


@pytest.mark.parametrize("said", [b"", b'{"ok":tr'])
def test_a_server_that_is_killed_meanwhile_is_one_line(tmp_path: Path, said: bytes) -> None:
    database = str(tmp_path / "log.db")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(control.socket_path(database))
        listener.listen()

        def be_killed() -> None:
            connection, _ = listener.accept()
            # What is unread when it closes resets the connection.
            connection.recv(1)
            connection.sendall(said)
            connection.close()

        server = threading.Thread(target=be_killed)
        server.start()
        with pytest.raises(CommandFailedError, match="the server ended before compact was done"):
            control.call(database, "compact", {})
        server.join()


def test_a_server_that_is_killed_before_it_was_asked_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, encode = str(tmp_path / "log.db"), msgspec.json.encode
    closed = threading.Event()

    def late(request: object) -> bytes:
        closed.wait()
        return encode(request)

    monkeypatch.setattr(msgspec.json, "encode", late)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(control.socket_path(database))
        listener.listen()

        def be_killed() -> None:
            listener.accept()[0].close()
            closed.set()

        server = threading.Thread(target=be_killed)
        server.start()
        with pytest.raises(CommandFailedError, match="the server ended before compact was done"):
            control.call(database, "compact", {})
        server.join()
