"""Half of what happens goes through a mount, half past it: all see the same in the end."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.convergence.client import Client
from tests.convergence.disk import differences, picture
from tests.convergence.operations import History
from tests.serving import wait_until
from tests.tools.mounted import Mounted, mounted

pytest.importorskip("pyfuse3", reason="the optional part for mounts is not installed")

pytestmark = [
    pytest.mark.privileged,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK),
        reason="needs root and /dev/fuse",
    ),
]

ROUNDS = 8
OPERATIONS = 40


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    with mounted(tmp_path_factory.mktemp("mount"), contested=True) as mount:
        yield mount


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_everybody_sees_what_is_on_the_disk(mount: Mounted, tmp_path: Path, seed: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    histories = [
        History([mount.path], outside, seed),
        History([mount.disk], outside, seed + 1000),
    ]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda history: history.run(OPERATIONS), histories))
    client, last = Client(0), dict[str, object]()

    def converged() -> bool:
        client.drain(mount.server.url)
        client.disconnect()
        truth = picture([mount.disk])
        seen = client.picture({"disk": bytes(mount.disk)})
        last["feed"] = differences(truth, seen)
        last["mount"] = _names(mount.disk) ^ _names(mount.path)
        return not any(last.values())

    try:
        wait_until(converged, "everybody sees what is on the disk")
    except AssertionError as error:
        error.add_note(f"{last}")
        raise


def _names(top: Path) -> set[tuple[bytes, int, int]]:
    """Return path, mode and size of all that is below a directory."""
    found = set()
    for above, directories, files in os.walk(bytes(top)):
        for name in directories + files:
            facts = os.lstat(above + b"/" + name)
            size = 0 if name in directories else facts.st_size
            found.add((os.path.relpath(above + b"/" + name, bytes(top)), facts.st_mode, size))
    return found
