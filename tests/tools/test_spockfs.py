"""The filesystem over HTTP as a part of `nasfeed serve`."""

import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.api.spockfs.client import Client, basic
from tests.serving import running, wait_until
from tests.tools.mounted import spock_port


def test_one_option_serves_the_directory(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    words = (str(media), "--port", "0", "--db", str(tmp_path / "state/log.db"))
    with running(*words, "--spockfs", "--spockfs-port", "0") as server:
        port = spock_port(server)
        disk = Client(lambda: port)
        wait_until(lambda: "media" in server.names())
        disk.make("/f", b"data")
        assert (media / "f").read_bytes() == b"data"
        assert (media / "f").stat().st_mode & 0o777 == 0o644  # whatever the server's mask is
        wait_until(lambda: "f" in server.names())
        server.stop()


def test_its_requests_are_counted(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    words = (str(media), "--port", "0", "--db", str(tmp_path / "state/log.db"))
    with running(*words, "--spockfs", "--spockfs-port", "0") as server:
        port = spock_port(server)
        disk = Client(lambda: port)
        wait_until(lambda: disk.create("/f").status == 201)
        assert disk.ask("GETATTR", "/f").status == 200
        assert disk.ask("GETATTR", "/none").status == 404
        assert disk.put("/f", b"data").status == 200
        assert disk.ask("INVENTED", "/f").status == 405
        with disk.line(), urllib.request.urlopen(f"{server.url}/metrics") as answer:  # noqa: S310 - of this test
            said = answer.read().decode()
        for line in (
            'nasfeed_spockfs_requests_total{method="GETATTR",status="200"} 1.0',
            'nasfeed_spockfs_requests_total{method="GETATTR",status="404"} 1.0',
            'nasfeed_spockfs_requests_total{method="PUT",status="200"} 1.0',
            'nasfeed_spockfs_requests_total{method="other",status="405"} 1.0',
            'nasfeed_spockfs_request_duration_seconds_count{method="GETATTR"} 2.0',
        ):
            assert line in said
        assert "nasfeed_spockfs_connections" in said
        server.stop()


def test_several_roots_are_served_by_their_names(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "own").mkdir()
    (tmp_path / "a/sub").mkdir()
    file = tmp_path / "server.yaml"
    file.write_text(
        f"""
port: 0
host: 127.0.0.1
database_url: {tmp_path}/state/log.db
log_level: info
watches: {{a: {tmp_path}/a, b: {tmp_path}/b}}
spockfs:
  port: 0
  users: {{alice: wonder}}
  privileged: [/p]
  mounts: {{/a: a, /sub: {tmp_path}/a/sub, /own: {tmp_path}/own, /p: b}}
"""
    )
    with running("--config", str(file)) as server:
        port = spock_port(server)
        assert Client(lambda: port).ask("GETATTR", "/a").status == 401
        disk = Client(lambda: port, basic("alice", "wonder"))
        wait_until(lambda: disk.create("/sub/f").status == 201)
        assert disk.names("/a/sub") == [b"f"]
        assert disk.create("/own/g").status == 201
        reply = disk.ask("GETATTR", "/")
        assert reply.status == 404
        assert b"/own, " in reply.body  # who asks at the wrong place learns where to ask
        assert disk.ask("MKNOD", "/p/null", X_Spock_mode=0o020600, X_Spock_dev=0x103).status == 201
        server.stop()


def test_no_server_is_open_to_the_network_by_mistake(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "server.yaml"
    head = f"port: 0\nhost: 127.0.0.1\ndatabase_url: {tmp_path}/log.db\n"
    section = "spockfs: {host: 0.0.0.0, port: 0}"
    file.write_text(f"{head}watches: {{a: {tmp_path}/a}}\n{section}\n")
    words = [sys.executable, "-m", "tools", "serve", "--config", str(file)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "spockfs.users" in ended.stderr
    assert "spockfs.insecure" in ended.stderr
    assert not (tmp_path / "log.db").exists()
