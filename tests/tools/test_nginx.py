"""The example for nginx lets every request of the filesystem through as it is."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.spockfs.client import Client, Line
from tests.api.spockfs.spocking import Spocked, spocked
from tests.serving import wait_until

EXAMPLE = Path(__file__).parents[2] / "tools/deploy/nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spocked]:
    with spocked(tmp_path_factory.mktemp("spock")) as disk:
        yield disk


@pytest.fixture(scope="module")
def proxied(disk: Spocked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Serve the example with another address, and without its certificate, which is not here."""
    base = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = EXAMPLE.read_text().replace("127.0.0.1:9090", f"127.0.0.1:{disk.server.port}")
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = re.sub(r"(?m)^ *ssl_certificate.*\n", "", text)
    user = "user root;" if os.geteuid() == 0 else ""
    paths = " ".join(
        f"{name}_temp_path {base}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (base / "nginx.conf").write_text(
        f"{user} daemon off; pid {base}/pid; error_log {base}/error; events {{}}\n"
        f"http {{ access_log off; {paths}\n{text} }}"
    )
    assert NGINX
    words = [NGINX, "-p", str(base), "-c", str(base / "nginx.conf"), "-e", str(base / "error")]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _listens(port) or process.poll() is not None, "nginx listens")
        assert process.poll() is None, process.communicate()[1]
        yield Client(lambda: port)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        Line(port).close()
        return True
    return False


def test_every_kind_of_request_passes(proxied: Client, disk: Spocked) -> None:
    proxied.make("/f", b"123456")
    assert proxied.get("/f", 0, 4095).body == b"123456"
    assert proxied.ask("GETATTR", "/f").number("size") == 6
    assert proxied.ask("MKDIR", "/d", X_Spock_mode=0o700).status == 201
    assert proxied.ask("RENAME", "/d/g", X_Spock_target="/f").status == 200
    assert proxied.ask("SETXATTR", "/d/g", b"v", X_Spock_target="user.a").status == 200
    assert proxied.ask("READDIR", "/d").body == b".\n..\ng\n"
    assert proxied.ask("RMDIR", "/d").error == (412, "ENOTEMPTY")
    assert proxied.ask("GETATTR", "/none").error == (404, "ENOENT")
    assert "ns" in proxied.ask("OPTIONS", "/").fields["x-spock-extensions"]
    large = os.urandom(3 * 2**20)
    assert proxied.put("/d/g", large).status == 200
    assert proxied.ask("GET", "/d/g").body == large
    assert disk.at("d/g").read_bytes() == large


@pytest.mark.parametrize(
    "name", [b"a b", b"caf\xc3\xa9", b"\xff\xfe", b"%41", b"a\nb", b"?q#f", b"+"]
)
def test_names_pass_as_they_are(proxied: Client, disk: Spocked, name: bytes) -> None:
    proxied.make(b"/" + name, b"data")
    assert os.path.lexists(bytes(disk.path) + b"/" + name)
    assert proxied.get(b"/" + name).body == b"data"


def test_targets_pass_as_they_are(proxied: Client) -> None:
    target = b"caf\xc3\xa9 \xff\xfe"
    assert proxied.ask("SYMLINK", "/l", X_Spock_target=target).status == 201
    assert proxied.ask("READLINK", "/l").body == target


def test_what_climbs_is_refused_all_the_same(proxied: Client) -> None:
    assert proxied.raw("GETATTR", b"/%2e%2e/%2e%2e/etc/passwd").status in (400, 404)
