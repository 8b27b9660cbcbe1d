"""Whatever happens to files and server, all who fold the feed end with what is on the disk.

Each failure names its seed and the command that tries it again; timing is part of what happens,
so that it may take several tries.
"""

from pathlib import Path

import pytest

from tests.convergence import soak
from tests.convergence.client import Client
from tests.convergence.disk import differences, picture
from tests.convergence.world import storm
from tests.serving import serving, wait_until

HISTORIES = 100
"""Each once with the disk alone, and once with a user of the media library beside it."""

GROUP = 20
"""Histories of one test; their worlds run side by side."""


@pytest.mark.slow
@pytest.mark.parametrize("library", [False, True], ids=["disk", "disk and library"])
@pytest.mark.parametrize("first", range(0, HISTORIES, GROUP))
def test_everybody_ends_with_what_is_on_the_disk(
    tmp_path: Path, first: int, *, library: bool
) -> None:
    ended = list(soak.run(first, first + GROUP, tmp_path, library=library))
    errors = [error for error in ended if isinstance(error, Exception)]
    if errors:
        raise ExceptionGroup("histories diverged", errors)


@pytest.mark.slow
def test_lost_hints_are_told_once_and_cost_one_scan(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "deep" / "er").mkdir(parents=True)
    client = Client(0)
    database = tmp_path / "state" / "log.db"
    with serving({"root": root}, database, "--backend", "inotify") as server:
        server.pause()
        storm(root)
        (root / "deep" / "er" / "after").write_bytes(b"lost")
        (root / "new" / "below").mkdir(parents=True)
        (root / "new" / "below" / "file").write_bytes(b"lost too")
        server.resume()

        def converged() -> bool:
            client.drain(server.url)
            client.disconnect()
            return not differences(picture([root]), client.picture({"root": bytes(root)}))

        wait_until(converged, "the client sees what was lost")

        def told() -> tuple[str, int, int]:
            [state] = server.get("/api/v1/status")[1]["roots"]
            return state["state"], state["overflows"], state["rescans"]

        # The status is that of the observer's last whole round, so it may come after the events.
        wait_until(lambda: told()[2] == 2, "the scan is counted")
        assert told() == ("online", 1, 2)
