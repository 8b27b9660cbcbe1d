"""The real client, as its authors publish it, works unchanged."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.filetracker.tracking import DAY, NOON, Tracked, tracked

CLIENT = Path(sys.prefix) / "filetracker-client"

pytestmark = pytest.mark.skipif(
    not CLIENT.is_dir(), reason="the real client is not there; make test installs it"
)


PROGRAM = Path(__file__).with_name("real_client.py")


class Client:
    """The real client in a process of its own."""

    def __init__(self, store: Tracked, directory: Path, url: str | None = None) -> None:
        self.store = store
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url or store.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PYTHONPATH": str(CLIENT), "HOME": str(directory), "PATH": os.defpath},
        )

    def __call__(self, operation: str, *arguments: object) -> Any:  # noqa: ANN401 - as it prints
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([operation, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        with self._process:
            self._process.kill()

    def file(self, data: bytes, version: int = NOON) -> str:
        """Write a file to be put; returns its path."""
        path = self.directory / "upload"
        path.write_bytes(data)
        os.utime(path, (version, version))
        return str(path)


@contextlib.contextmanager
def connected(store: Tracked, directory: Path, url: str | None = None) -> Iterator[Client]:
    with contextlib.closing(Client(store, directory, url)) as client:
        yield client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with (
        tracked(tmp_path_factory.mktemp("store")) as store,
        connected(store, tmp_path_factory.mktemp("client")) as client,
    ):
        yield client


@pytest.mark.parametrize("hint", [(), ("plain",)], ids=["compressed", "plain"])
@pytest.mark.parametrize("data", [b"", b"data", os.urandom(300_000)], ids=["empty", "few", "many"])
def test_put_and_get(client: Client, data: bytes, hint: tuple[str, ...]) -> None:
    name = client("put_file", f"/put/{len(data)}{hint}@{NOON}", client.file(data), *hint)
    assert name == f"/put/{len(data)}{hint}@{NOON}"
    saved = client.directory / "saved"
    assert client("get_file", name, str(saved), 0) == name
    assert saved.read_bytes() == data
    assert client("file_size", name) == len(data)
    assert client("file_version", name) == NOON


def test_put_without_a_version_gives_it_the_one_of_now(client: Client) -> None:
    name = client("put_file", "/now", client.file(b"data", NOON))
    version = int(name.rpartition("@")[2])
    assert abs(version - client.store.nas.system.log.call(lambda tx: tx.time_us) / 1e6) < DAY / 24


def test_an_older_version_is_not_stored_and_the_newer_one_is_told(client: Client) -> None:
    client("put_file", f"/old@{NOON}", client.file(b"new"))
    assert client("put_file", f"/old@{NOON - 5}", client.file(b"old")) == f"/old@{NOON}"
    assert client("get_stream", "/old") == ["new", f"/old@{NOON}"]


def test_another_version_than_the_one_that_is_there_is_an_error(client: Client) -> None:
    client("put_file", f"/one@{NOON}", client.file(b"data"))
    assert "not available" in client("get_stream", f"/one@{NOON - 1}")["error"]


def test_exists(client: Client) -> None:
    client("put_file", f"/there@{NOON}", client.file(b"data"))
    assert client("exists", "/there") is True
    assert client("exists", f"/there@{NOON}") is True
    assert client("exists", f"/there@{NOON + 1}") is False
    assert client("exists", "/absent") is False


def test_list(client: Client) -> None:
    for name in ("/list/a", "/list/d/b c", "/list/żółć"):
        client("put_file", f"{name}@{NOON}", client.file(b"data"))
    client("put_file", f"/list/young@{NOON + 9}", client.file(b"data"))
    listed = set(client("list_remote_files", NOON, "/list", 1))
    assert listed == {"list/a", "list/d/b c", "list/żółć"}
    assert set(client("list_remote_files", NOON, "/list", 0)) == {"a", "d/b c", "żółć"}
    assert listed <= set(client("list_remote_files", NOON + DAY))


def test_delete(client: Client) -> None:
    client("put_file", f"/gone@{NOON}", client.file(b"data"))
    client("delete_file", f"/gone@{NOON - 1}")
    assert client("exists", "/gone") is True
    client("delete_file", f"/gone@{NOON}")
    assert client("exists", "/gone") is False
    assert "HTTP/404" in client("delete_file", f"/gone@{NOON}")["error"]


def test_names_that_must_be_quoted(client: Client) -> None:
    name = f"/odd/a b+c%d#é/f?x@{NOON}"
    assert client("put_file", name, client.file(b"data")) == name
    assert client("get_stream", name) == ["data", name]


def test_a_token_goes_into_the_url(tmp_path: Path) -> None:
    with tracked(tmp_path, prefix="/store", tokens={"alice": "secret"}) as store:
        place = f"127.0.0.1:{store.server.port}/store"
        with connected(store, tmp_path, f"http://alice:secret@{place}") as client:
            assert client("put_file", f"/a@{NOON}", client.file(b"data")) == f"/a@{NOON}"
        with connected(store, tmp_path, f"http://{place}") as stranger:
            assert "401" in stranger("get_stream", "/a")["error"]


def test_a_file_that_is_missing_is_fetched_from_the_other_server(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    with (
        tracked(tmp_path / "old") as old,
        tracked(tmp_path / "new", fallback_url=old.url) as new,
        connected(new, tmp_path) as client,
    ):
        old.put("a%20b", b"from the old one")
        assert client("get_stream", "/a b") == ["from the old one", f"/a b@{NOON}"]
        assert client("exists", "/a b") is True
        assert client("exists", "/none") is False
