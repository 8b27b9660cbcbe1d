"""Requests at once to a server that is killed among them: each is done whole or not at all."""

import contextlib
import http.client
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.api.filetracker.model import ASKS, TOGETHER, Ask, Files, Told, explains, on_disk, send
from tests.api.filetracker.test_kill import configured
from tests.api.filetracker.tracking import NOON, Asking
from tests.serving import Server, wait_until
from tools.cli import main


class Killed(RuleBasedStateMachine):
    """Sends requests, and kills the server as soon as some of them are answered."""

    server: ClassVar[Server]
    store: ClassVar[Asking]
    pool: ClassVar[ThreadPoolExecutor]
    examples: ClassVar[Iterator[int]]

    @initialize()
    def begin(self) -> None:
        self.top = f"{next(self.examples)}"
        self.files: Files = {}
        self.store.put(f"{self.top}/.here", b"", NOON + 99)

    @rule(
        asks=st.lists(ASKS, min_size=2, max_size=TOGETHER),
        answers=st.integers(0, TOGETHER - 1),
    )
    def ask_and_kill(self, asks: list[Ask], answers: int) -> None:
        enough = threading.Semaphore(0)

        def ask(each: Ask) -> Told | None:
            try:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    return send(self.store, self.top, each)
                return None
            finally:
                enough.release()

        waiting = [self.pool.submit(ask, each) for each in asks]
        for _ in range(min(answers, len(asks))):
            enough.acquire()
        self.server.kill()
        told = [each.result() for each in waiting]
        seen = on_disk(self.store.path / self.top)
        assert explains(self.files, asks, told, seen), (asks, told, seen)
        self.files = seen
        self.server.start()
        self.server.wait_ready()


@pytest.mark.slow
def test_requests_at_a_kill_are_done_or_not_done(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    server = Server("--config", str(configured(tmp_path, root)))
    server.start()
    try:
        server.wait_ready()
        with ThreadPoolExecutor(TOGETHER) as pool:
            Killed.server, Killed.pool, Killed.examples = server, pool, itertools.count()
            Killed.store = Asking(lambda: urlsplit(server.url).port or 0, root)
            case = Killed.TestCase
            case.settings = settings(
                max_examples=3,
                stateful_step_count=4,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            )
            case().runTest()
        wait_until(lambda: Killed.store.staged() == 0, "what was left is swept")
        server.stop()
    finally:
        if server.running:
            server.kill()
    assert main(["filetracker", "fsck", str(root)]) == 0
    assert main(["check", "--db", str(tmp_path / "state" / "log.db")]) == 0
