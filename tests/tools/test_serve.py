import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eventlog.clock import SystemClock
from tests.serving import Server, running, wait_until
from tests.tools.receiver_server import Inbox, receiving
from tests.watcher.mounting import privileged
from tools import cli
from tools.client.connection import FeedClient
from tools.client.following import Following
from tools.client.mirror import Mirror
from tools.client.wire import START

Capture = pytest.CaptureFixture[str]

STOP_SECONDS = 20.0
"""Two seconds are promised; a machine with much else to do gets more."""


@pytest.fixture
def media(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    (media / "sub").mkdir(parents=True)
    (media / "sub" / "a.txt").write_text("a")
    return media


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "state" / "log.db"


@pytest.fixture
def server(media: Path, database: Path) -> Iterator[Server]:
    with running(str(media), "--port", "0", "--db", str(database)) as server:
        wait_until(lambda: {"sub", "a.txt"} <= server.names())
        yield server


AS_NOBODY = """
import os, resource, sys
from tools import cli, compose, {module}  # nobody may not read all that they import
resource.setrlimit(resource.RLIMIT_NPROC, ({processes}, {processes}))
os.setuid(65534)
sys.exit(cli.main(sys.argv[1:]))
"""


def refused(module: str, *words: str | Path, processes: int = 1000) -> str:
    """Run a command that cannot be, as nobody and with few processes; returns the one line."""
    script = AS_NOBODY.format(module=module, processes=processes)
    started = [sys.executable, "-c", script, *map(str, words)]
    done = subprocess.run(started, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


@privileged
def test_a_limit_on_processes_is_told_in_one_line(media: Path) -> None:
    assert "ulimit -u" in refused("serve", "serve", media, "--db", "/nowhere", processes=0)


@privileged
@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_database_that_may_not_be_reached_is_told_in_one_line(
    tmp_path: Path, media: Path, command: str
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    roots = [media] if command == "serve" else []
    line = refused(command, command, "--db", closed / "log.db", *roots)
    assert str(closed / "log.db") in line
    assert "Permission denied" in line


def test_what_happens_to_files_is_served(server: Server, media: Path) -> None:
    (media / "new.txt").write_text("new")
    wait_until(lambda: "new.txt" in server.names())
    (media / "sub" / "a.txt").unlink()
    wait_until(lambda: "a.txt" not in server.names())
    assert server.end() == 0


def test_what_happens_to_files_is_pushed(server: Server, media: Path) -> None:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=120)
    connection.request("GET", "/api/v1/changes/stream", headers={"Accept": "application/x-ndjson"})
    lines = map(json.loads, connection.getresponse())
    assert any(line["event"] == "caught_up" for line in lines)
    (media / "new.txt").write_text("new")
    changes = (change for line in lines for change in line.get("changes", ()))
    assert any(change["node"]["name"] == "new.txt" for change in changes if not change["removed"])
    connection.close()
    assert server.end() == 0


def test_after_a_barrier_what_was_done_before_is_served(server: Server, media: Path) -> None:
    for number in range(5):
        before = server.get("/api/v1/cursor")[1]["cursor"]
        (media / "sub" / f"{number}").mkdir()
        (media / "sub" / f"{number}" / f"file{number}").write_text("x")
        status, barrier = server.get("/api/v1/cursor?sync=60")
        assert (status, barrier["synced"]) == (200, True)
        assert barrier["cursor"] > before
        assert f"file{number}" in server.names()
    assert {path.name for path in media.iterdir()} == {"sub"}
    assert server.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_soon_with_open_connections(server: Server, number: signal.Signals) -> None:
    parts = urlsplit(server.url)
    idle = http.client.HTTPConnection(parts.hostname or "", parts.port)
    idle.request("GET", "/api/v1/cursor")
    idle.getresponse().read()
    halfway = socket.create_connection((parts.hostname or "", parts.port or 0))
    halfway.sendall(b"GET /api/v1/cur")
    cursor = server.get("/api/v1/cursor")[1]["cursor"]
    waiting = http.client.HTTPConnection(parts.hostname or "", parts.port)
    waiting.request("GET", f"/api/v1/changes?wait=60&cursor={cursor}")
    stream = http.client.HTTPConnection(parts.hostname or "", parts.port)
    stream.request("GET", "/api/v1/changes/stream")
    first = stream.getresponse()
    assert first.readline().startswith(b"retry")
    clock = SystemClock()
    began = clock.monotonic()
    assert server.end(number) == 0
    assert clock.monotonic() - began < STOP_SECONDS
    for connection in (idle, halfway, waiting, stream):
        connection.close()


def test_nothing_is_left_behind(server: Server, database: Path) -> None:
    server.end()
    assert not Path(f"{database}.control").exists()
    assert "Traceback" not in "".join(server.lines)


def test_a_second_server_on_the_same_database_is_refused(
    server: Server, media: Path, database: Path
) -> None:
    with running(str(media), "--port", "0", "--db", str(database)) as second:
        assert second.wait_ended() == 1
    assert len(second.lines) == 1
    assert "another nasfeed is using this database" in second.lines[0]
    assert server.get("/api/v1/cursor")[0] == 200


def test_a_port_that_is_taken_is_one_line_and_leaves_nothing(
    server: Server, tmp_path: Path, media: Path
) -> None:
    port = server.url.rpartition(":")[2]
    with running(str(media), "--port", port, "--db", f"{tmp_path}/new/other.db") as second:
        assert second.wait_ended() == 1
    [line] = second.lines
    assert line.startswith("nasfeed: cannot listen on 127.0.0.1 port ")
    assert port in line
    assert not (tmp_path / "new").exists()


def test_the_commands_work_beside_it(
    server: Server, media: Path, database: Path, capsys: Capture
) -> None:
    (media / "new.txt").write_text("new")
    wait_until(lambda: "new.txt" in server.names())
    assert cli.main(["check", "--db", str(database)]) == 0
    assert cli.main(["replay", "--db", str(database), "--check"]) == 0
    assert cli.main(["replay", "--db", str(database)]) == 0
    assert cli.main(["rehash", "--db", str(database)]) == 0
    capsys.readouterr()
    assert cli.main(["dump", "--db", str(database), "--path", str(media / "new.txt")]) == 0
    assert "created    " in capsys.readouterr().out
    assert cli.main(["follow", server.url, "--from", "0", "--once", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert str(media.resolve() / "new.txt") in [line["path"] for line in lines]
    assert cli.main(["confirm-removal", "nonsense", "--db", str(database)]) == 1
    assert "the roots are: media" in capsys.readouterr().err


def test_a_snapshot_is_taken_beside_it_and_sent_by_it(server: Server, database: Path) -> None:
    assert server.get("/api/v1/status")[1]["log"]["snapshot"] == 0
    assert cli.main(["snapshot", "--db", str(database)]) == 0
    assert cli.main(["replay", "--db", str(database), "--from-snapshot", "--check"]) == 0
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.request("GET", "/api/v1/snapshot")
    first, *nodes, last = map(json.loads, connection.getresponse().read().splitlines())
    connection.close()
    assert {line["node"]["name"] for line in nodes} == {"media", "sub", "a.txt"}
    assert last == {**first, "count": 3}
    assert server.get(f"/api/v1/changes?cursor={first['cursor']}")[0] == 200


def test_it_goes_on_after_a_kill(server: Server, media: Path, database: Path) -> None:
    _, before = server.get("/api/v1/changes?cursor=0")
    server.end(signal.SIGKILL)
    (media / "meanwhile").write_text("")
    with running(str(media), "--port", "0", "--db", str(database)) as again:
        wait_until(lambda: "meanwhile" in again.names())
        status, after = again.get(f"/api/v1/changes?cursor={before['cursor']}")
        assert status == 200
        assert after["log_id"] == before["log_id"]
        assert "sub" not in [change["node"]["name"] for change in after["changes"]]


def test_the_database_is_never_part_of_the_feed(media: Path) -> None:
    database = media / "sub" / "log.db"
    log_file = media / "server.log"
    config = media.parent / "server.yaml"
    config.write_text(
        f"host: 127.0.0.1\nport: 0\ndatabase_url: {database}\nlog_path: {log_file}\n"
        f"watches:\n  media: {media}\nwatcher:\n  backend: inotify\n"
    )
    with running("--config", str(config)) as server:
        # It says where it listens in its log, which is not read here.
        wait_until(lambda: log_file.exists() and "listening on" in log_file.read_text())
        server.url = log_file.read_text().partition("listening on ")[2].split()[0]
        (media / "x").write_text("")
        wait_until(lambda: "x" in server.names())
        assert server.names() == {"media", "sub", "a.txt", "x"}


def test_a_faulty_configuration_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text("prot: 80\n")
    with running("--config", str(config)) as server:
        assert server.wait_ended() == 1
    assert server.lines == [
        f"nasfeed: {config}:1: unknown key prot; did you mean port?\n",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "database_url: {file}/log.db",
            "database_url: {file}: cannot make the database's directory",
        ),
        ("database_url: {file}", "database_url: {file}: "),
        ("database_url: /proc/log.db", "database_url: /proc"),
        ("snapshots: {{directory: /proc/x}}", "snapshots.directory: /proc/x: No such file"),
        ("log_path: {file}/log", "log_path: {file}/log: Not a directory; give another file"),
        (
            "watches: {{a: media}}",
            "watches: a: 'media' is relative; give a path that begins with /",
        ),
        ("watches: {{a: '{file}'}}", "watches: {file}: this is no directory"),
        ("metadata_workers: 0", "metadata_workers: expected a whole number >= 1"),
    ],
)
def test_a_value_that_does_not_work_is_one_line_with_file_and_key(
    tmp_path: Path, media: Path, line: str, message: str
) -> None:
    file = tmp_path / "precious"
    file.write_text("mine, and no database at all\n" * 100)
    config = tmp_path / "server.yaml"
    key = line.partition(":")[0]
    values = {
        "host": "127.0.0.1",
        "port": "0",
        "database_url": f"{tmp_path}/state/log.db",
        "watches": f"{{a: {media}}}",
    }
    values[key] = line.partition(": ")[2].format(file=file)
    config.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    with running("--config", str(config)) as server:
        assert server.wait_ended() == 1
    [said] = server.lines
    assert said.startswith(f"nasfeed: {config}")
    assert message.format(file=file) in said
    assert file.read_text().startswith("mine")


def test_more_workers_than_are_of_use_are_not_started(tmp_path: Path, media: Path) -> None:
    config = tmp_path / "server.yaml"
    config.write_text(
        f"host: 127.0.0.1\nport: 0\ndatabase_url: {tmp_path}/state/log.db\n"
        f"watches: {{a: {media}}}\nmetadata_workers: 256\n"
    )
    with running("--config", str(config)) as server:
        server.wait()
        wait_until(lambda: "a.txt" in server.names())
        workers = server.get("/api/v1/status")[1]["metadata"]["workers"]
        assert server.end() == 0
    assert workers <= 4 * len(os.sched_getaffinity(0))
    assert "metadata_workers: 256 are more than" in "".join(server.lines)


def test_a_webhook_is_called_when_something_has_changed(tmp_path: Path, media: Path) -> None:
    inbox = Inbox()
    log_file = tmp_path / "server.log"
    with receiving(inbox) as url:
        config = tmp_path / "server.yaml"
        config.write_text(
            f"host: 127.0.0.1\nport: 0\ndatabase_url: {tmp_path}/state/log.db\n"
            f"log_path: {log_file}\nwatches: {{media: {media}}}\n"
            f"webhooks: [{{url: '{url}', secret: 0123456789abcdef01234567}}]\n"
        )
        with running("--config", str(config)) as server:
            wait_until(lambda: log_file.exists() and "listening on" in log_file.read_text())
            server.url = log_file.read_text().partition("listening on ")[2].split()[0]
            wait_until(lambda: "a.txt" in server.names())

            def caught_up() -> bool:
                _, status = server.get("/api/v1/status")
                [hook] = status["webhooks"]
                return bool(hook["head"] == status["head"] > 0)

            wait_until(caught_up)
            (media / "new").write_text("x")
            wait_until(lambda: "new" in server.names())
            wait_until(caught_up)
    heads = [json.loads(body)["data"]["head"] for _, body in inbox.messages]
    assert heads == sorted(set(heads))
    assert len(heads) >= 2
    assert "secret-path" not in log_file.read_text()


def test_a_client_is_told_through_a_stream(server: Server, media: Path) -> None:
    client = FeedClient(server.url)
    pages = Following(client).pages(START)
    mirror = Mirror()

    def names() -> set[str]:
        return {node.name for node in mirror.nodes.values()}

    while not mirror.is_whole:
        mirror.apply(next(pages))
    mirror.apply(next(pages))
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("GET", "/metrics")
    assert b"\nnasfeed_streams_open 1.0\n" in connection.getresponse().read()
    connection.close()
    (media / "new").write_text("x")
    while "new" not in names():
        mirror.apply(next(pages))
    (media / "new").unlink()
    while "new" in names():
        mirror.apply(next(pages))
    pages.close()
    client.close()
