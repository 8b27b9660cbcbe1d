"""Commands to a running server, through a Unix socket beside its database.

Who may open the socket may command: it has mode 0600. One connection carries one command. The
client sends one line of JSON, `{"command": …, "arguments": {…}}`. The server answers with lines:
any number of `{"step": {"what", "unit", "done", "total"}}`, then `{"ok": true, "result": {…}}` or
`{"ok": false, "error": "…"}`.
"""

import asyncio
import contextlib
import io
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from eventlog.errors import LogError
from tools.errors import OperatorError
from tools.progress import Step

Arguments = dict[str, Any]
Report = Callable[[Step], None]
Handler = Callable[[Arguments, Report], Coroutine[None, None, dict[str, Any]]]
"""Does a command: gets its arguments and a way to report steps, returns the result."""

REQUEST_SECONDS = 5.0
"""For a request to arrive; a client sends it at once."""

_NAME_BYTES_MAX = 80
"""`sun_path` of unix(7) has 108 bytes; the rest is for /proc/self/fd/."""

_log = logging.getLogger("nasfeed.control")


class Request(msgspec.Struct, frozen=True):
    """What a client asks.

    Attributes:
        command: name of the command.
        arguments: what it needs.
    """

    command: str
    arguments: Arguments = {}


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the answer: a step, or the end.

    Attributes:
        ok: whether it was done; None while it is going on.
        step: how far it is.
        result: what came of it.
        error: why it was not done, one line.
    """

    ok: bool | None = None
    step: Step | None = None
    result: dict[str, Any] = {}
    error: str = ""


class NotRunningError(OperatorError):
    """No server runs on this database."""


class CommandFailedError(OperatorError):
    """The server said no, and why."""


def socket_path(database: str) -> str:
    """Return where the socket of a database is."""
    return f"{database}.control"


@contextlib.asynccontextmanager
async def serving(database: str, commands: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Take commands while the context lasts; those that still run at its end are cancelled.

    Args:
        database: the log, which this process holds locked: a socket left by another is stale.
        commands: what can be asked, by name.

    Raises:
        OperatorError: the socket cannot be made.
    """
    running: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_converse(reader, writer, commands))
        running.add(task)
        task.add_done_callback(running.discard)

    with _listening(database) as listener:
        server = await asyncio.start_unix_server(connected, sock=listener)
        try:
            yield
        finally:
            server.close()
            left = list(running)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


def call(
    database: str, command: str, arguments: Arguments, report: Report | None = None
) -> dict[str, Any]:
    """Ask the server that runs on a database to do something, and wait until it is done.

    Args:
        database: the log.
        command: name of the command.
        arguments: what it needs.
        report: called with each step.

    Returns:
        The result.

    Raises:
        NotRunningError: no server runs there.
        CommandFailedError: the server could not do it.
    """
    with (
        # A server that is killed meanwhile resets the connection; closing may notice it first.
        contextlib.suppress(ConnectionError),
        _connected(database) as stream,
    ):
        stream.write(msgspec.json.encode(Request(command, arguments)) + b"\n")
        stream.flush()
        for line in stream:
            if not line.endswith(b"\n"):
                break
            reply = msgspec.json.decode(line, type=Reply)
            if reply.step is not None and report is not None:
                report(reply.step)
            if reply.ok:
                return reply.result
            if reply.ok is False:
                raise CommandFailedError(reply.error)
    raise CommandFailedError(f"{database}: the server ended before {command} was done")


def is_running(database: str) -> bool:
    """Return whether a server runs on a database and takes commands from this user."""
    try:
        with _connected(database):
            return True
    except OperatorError:
        return False


@contextlib.contextmanager
def _connected(database: str) -> Iterator[io.BufferedRWPair]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with _reachable(database) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NotRunningError(
                f"{database}: no server runs on this database; start one with nasfeed serve"
            ) from error
        except OSError as error:
            raise NotRunningError(f"{socket_path(database)}: {error.strerror}") from error
        with connection.makefile("rwb") as stream:
            yield stream


@contextlib.contextmanager
def _listening(database: str) -> Iterator[socket.socket]:
    """Hold a listening socket beside the database; it is removed at the end."""
    path = Path(socket_path(database))
    with contextlib.ExitStack() as stack:
        try:
            # For as long as it listens: asyncio looks the socket up by this name when it closes.
            name = stack.enter_context(_reachable(database))
            path.unlink(missing_ok=True)
            listener = stack.enter_context(_listen(name))
        except OSError as error:
            raise OperatorError(f"{path}: {error.strerror}") from error
        stack.callback(path.unlink, missing_ok=True)
        yield listener


def _listen(name: str) -> socket.socket:
    with contextlib.ExitStack() as undo:
        listener = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        # Before it has a name, so that it never has one with another mode (Linux honours it).
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(name)
        listener.listen()
        listener.settimeout(0)
        undo.pop_all()
        return listener


@contextlib.contextmanager
def _reachable(database: str) -> Iterator[str]:
    """Give a name of the socket that is short enough, however long the path is."""
    path = Path(socket_path(database))
    if len(os.fsencode(path.name)) > _NAME_BYTES_MAX:
        raise OperatorError(f"{database}: this name is too long for a database; take a shorter one")
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, commands: Mapping[str, Handler]
) -> None:
    """Answer one connection. A client that goes away does not stop what it asked for."""

    def report(step: Step) -> None:
        if not writer.is_closing():
            writer.write(msgspec.json.encode(Reply(step=step)) + b"\n")

    try:
        writer.write(await _answer(reader, commands, report) + b"\n")
        await writer.drain()
    except OSError:
        _log.debug("the client of a command has gone")
    finally:
        writer.close()


async def _answer(
    reader: asyncio.StreamReader, commands: Mapping[str, Handler], report: Report
) -> bytes:
    """Return the last line of the answer."""
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            line = await reader.readline()
        request = msgspec.json.decode(line, type=Request)
    except (TimeoutError, ValueError) as error:
        # ValueError: what cannot be decoded, and a line longer than the reader's 64 KiB.
        return _refusal(f"this is no request: {error}")
    handler = commands.get(request.command)
    if handler is None:
        return _refusal(f"this server knows no command {request.command!r}")
    try:
        result = await handler(request.arguments, report)
        return msgspec.json.encode(Reply(ok=True, result=result))
    except (OperatorError, LogError) as error:
        return _refusal(str(error))
    except Exception as error:  # noqa: BLE001 - a fault of one command must not end the server
        _log.exception("command %s failed", request.command)
        return _refusal(f"{type(error).__name__}: {error}; see the server's log")


def _refusal(error: str) -> bytes:
    return msgspec.json.encode(Reply(ok=False, error=error))
