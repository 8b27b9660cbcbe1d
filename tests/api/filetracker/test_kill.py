"""A server that is killed at any moment leaves old files or new ones, no mix and no litter."""

import contextlib
import http.client
import random
import threading
from email.utils import formatdate
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tests.api.filetracker.tracking import NOON
from tests.serving import Server, wait_until
from tools.cli import main

WORKERS = 4
KILLS = 3
CHANGES_BEFORE_KILL = 60
SIZE = 150_000


class Worker:
    """A client with a file of its own, which knows what may be in it.

    Attributes:
        may: contents that may be there; None for no file.
        changes: how many answers it got.
    """

    def __init__(self, number: int) -> None:
        self.path = f"d{number % 2}/{number}"
        self.may: set[bytes | None] = {None}
        self.changes = 0
        self._dice = random.Random(number)  # noqa: S311 - chooses operations
        self._version = NOON

    def work(self, url: str) -> None:
        """Change the file until the server is gone."""
        parts = urlsplit(url)
        with contextlib.suppress(OSError, http.client.HTTPException):
            while True:
                wanted = self._next()
                self.may.add(wanted)
                self._ask(parts.hostname or "", parts.port, wanted)
                self.may = {wanted}
                self.changes += 1

    def _next(self) -> bytes | None:
        self._version += 1
        if self._dice.random() < 0.2:
            return None
        return self._dice.randbytes(8) * self._dice.choice((1, SIZE // 8))

    def _ask(self, host: str, port: int | None, content: bytes | None) -> None:
        query = urlencode({"last_modified": formatdate(self._version)})
        connection = http.client.HTTPConnection(host, port, timeout=60)
        with contextlib.closing(connection):
            method = "DELETE" if content is None else "PUT"
            connection.request(method, f"/files/{self.path}?{query}", content)
            response = connection.getresponse()
            response.read()
            assert response.status in ((200, 404) if content is None else (200,))


def configured(base: Path, root: Path) -> Path:
    file = base / "server.yaml"
    file.write_text(f"""\
host: 127.0.0.1
port: 0
database_url: {base}/state/log.db
watches:
  files: {root}
filetracker:
  root: files
""")
    return file


@pytest.mark.slow
def test_a_killed_server_leaves_each_file_as_it_was_or_as_it_was_to_be(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    database = tmp_path / "state" / "log.db"
    server = Server("--config", str(configured(tmp_path, root)))
    workers = [Worker(number) for number in range(WORKERS)]
    try:
        for _ in range(KILLS):
            server.start()
            server.wait_ready()
            before = sum(worker.changes for worker in workers)
            threads = [threading.Thread(target=w.work, args=(server.url,)) for w in workers]
            for thread in threads:
                thread.start()
            enough = before + CHANGES_BEFORE_KILL
            wait_until(lambda: sum(w.changes for w in workers) >= enough, "some changes")  # noqa: B023
            server.kill()
            for thread in threads:
                thread.join()
            for worker in workers:
                path = root / worker.path
                found = path.read_bytes() if path.exists() else None
                assert found in worker.may
                worker.may = {found}
        server.start()
        server.wait_ready()
        staging = root / ".nasfeed" / "staging"
        wait_until(lambda: not any(staging.iterdir()), "what was left is swept")
        server.stop()
    finally:
        if server.running:
            server.kill()
    assert main(["filetracker", "fsck", str(root)]) == 0
    assert main(["check", "--db", str(database)]) == 0
