"""Disks that are full or away, and clients that take their time."""

import os
from functools import partial
from pathlib import Path

import pytest

from tests import small_disk
from tests.api.spockfs.client import message
from tests.api.spockfs.spocking import ROOT, Spocked, spocked

MEBIBYTES = 2


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_is_said_to_be_full_and_nothing_is_unreported(tmp_path: Path) -> None:
    with small_disk.mounted(tmp_path / ROOT, MEBIBYTES), spocked(tmp_path) as disk:
        disk.make("/f", b"begin")
        block = bytes(2**18)
        replies = [disk.put("/f", block, 5 + number * len(block)) for number in range(12)]
        [refused, *_] = [reply for reply in replies if reply.status != 200]
        assert refused.error == (507, "ENOSPC")
        assert 0 <= refused.number("size") < len(block)  # so much of it was written
        reply = disk.ask("FALLOCATE", "/f", Range=f"bytes=0-{2**30}", X_Spock_mode=0)
        assert reply.error == (507, "ENOSPC")
        assert disk.get("/f").body.startswith(b"begin")
        assert disk.ask("TRUNCATE", "/f", X_Spock_size=5).status == 200
        assert disk.put("/f", b"again").status == 200
        disk.nas.see()
        assert {event.author for event in disk.made(0, b"f")} == {"spockfs"}


def test_an_absent_disk_is_an_error_and_no_empty_directory(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    with spocked(tmp_path, mounts={"/": ROOT, "/own": str(own)}) as disk:
        disk.make("/f", b"data")
        assert disk.ask("GETATTR", "/own").status == 200
        for path, url in ((disk.path, "/f"), (own, "/own/f")):
            away = path.rename(path.with_name("away"))
            path.mkdir()
            disk.server.wait_until(partial(_is_refused, disk, url))
            assert disk.create(f"{url}2").status == 503
            assert list(path.iterdir()) == []
            path.rmdir()
            away.rename(path)
        disk.server.wait_until(lambda: disk.get("/f").body == b"data")
        assert disk.create("/own/f2").status == 201


def _is_refused(disk: Spocked, url: str) -> bool:
    return disk.ask("GETATTR", url).status == 503


def test_a_slow_client_keeps_nobody_waiting(tmp_path: Path) -> None:
    with spocked(tmp_path) as disk:
        disk.make("/f", b"data")
        whole = message("PUT", b"/f", b"x" * 100, {"Content-Range": "bytes=0-99"})
        with disk.line() as slow:
            slow.send(whole[:-1])
            assert disk.put("/f", b"DATA").status == 200
            assert disk.get("/f").body == b"DATA"
            slow.send(whole[-1:])
            assert slow.read().status == 200
        assert disk.get("/f").body == b"x" * 100
