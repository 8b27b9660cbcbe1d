"""Writing through the filesystem: many pieces, many clients, clients that go away."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eventlog.events import Created, Modified, Removed
from tests.api.spockfs.client import encode, message
from tests.api.spockfs.spocking import Spocked, spocked

WHO = "spockfs"
BLOCK = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Spocked]:
    with spocked(tmp_path) as disk:
        yield disk


def test_many_small_writes_become_few_events_and_one_hash(disk: Spocked) -> None:
    assert disk.create("/f").status == 201
    with disk.line() as line:
        for number in range(400):
            start = number * BLOCK
            span = f"bytes={start}-{start + BLOCK - 1}"
            data = bytes([number % 256]) * BLOCK
            assert line.ask("PUT", "/f", data, Content_Range=span).status == 200
    disk.nas.see()  # hashed as well
    made = disk.made(0, b"f")
    assert {event.author for event in made} == {WHO}
    assert 2 <= len(made) <= 4
    assert made[-1].state.size == 400 * BLOCK


def test_the_first_write_of_a_file_is_in_the_log_when_it_is_answered(disk: Spocked) -> None:
    disk.at("f").write_bytes(b"data")
    disk.nas.see()
    head = disk.nas.head
    assert disk.put("/f", b"DATA and more").status == 200
    [event] = disk.made(head, b"f")
    assert isinstance(event, Modified)
    assert (event.author, event.state.size) == (WHO, 13)


def test_release_and_fsync_have_the_rest_in_the_log(disk: Spocked) -> None:
    disk.create("/f")
    for size, method in ((10, "RELEASE"), (20, "FSYNC")):
        disk.put("/f", b"x" * size)
        assert disk.ask(method, "/f").status == 200
        assert disk.made(0, b"f")[-1].state.size == size


def test_a_stop_forgets_nobody_who_wrote(tmp_path: Path) -> None:
    with spocked(tmp_path) as disk:
        disk.create("/f")
        disk.put("/f", b"12345")
    made = disk.made(0, b"f")
    assert [(event.author, event.state.size) for event in made] == [(WHO, 0), (WHO, 5)]


def test_a_barrier_sees_what_was_written(disk: Spocked) -> None:
    disk.create("/f")
    disk.put("/f", b"12345")
    [done] = disk.nas.system.sync().values()
    done.result(30)
    assert [(e.author, e.state.size) for e in disk.made(0, b"f")][-1] == (WHO, 5)


def test_clients_that_write_to_different_places_of_a_file_do_not_disturb_each_other(
    disk: Spocked,
) -> None:
    disk.create("/f")
    blocks = list(range(64))
    random.Random(1).shuffle(blocks)  # noqa: S311 - only an order

    def write(number: int) -> int:
        return disk.put("/f", bytes([number]) * BLOCK, number * BLOCK).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(write, blocks)) == {200}
    assert disk.at("f").read_bytes() == b"".join(bytes([n]) * BLOCK for n in range(64))
    disk.nas.see()
    assert {event.author for event in disk.made(0, b"f")} == {WHO}


def test_a_small_write_that_breaks_off_writes_nothing(disk: Spocked) -> None:
    disk.make("/f", b"before")
    whole = message("PUT", encode("/f"), b"x" * 1000, {"Content-Range": "bytes=0-999"})
    for cut in (len(whole) - 1, len(whole) - 999):
        with disk.line() as line:
            line.send(whole[:cut])
    assert disk.get("/f").body == b"before"


def test_what_was_written_of_a_large_write_that_breaks_off_is_in_the_log(disk: Spocked) -> None:
    disk.create("/f")
    size = 8 * 2**20
    whole = message("PUT", encode("/f"), b"x" * size, {"Content-Range": f"bytes=0-{size - 1}"})
    with disk.line() as line:
        line.send(whole[: len(whole) - 1])
    disk.server.wait_until(lambda: disk.at("f").stat().st_size >= 7 * 2**20)
    disk.nas.see()
    assert {event.author for event in disk.made(0, b"f")} == {WHO}


def test_a_large_write_in_one_request_is_written_whole(disk: Spocked) -> None:
    disk.create("/f")
    data = random.Random(2).randbytes(5 * 2**20 + 3)  # noqa: S311 - only bytes
    assert disk.put("/f", data).status == 200
    assert disk.at("f").read_bytes() == data
    assert disk.ask("GET", "/f").body == data
    assert disk.get("/f", 2**20 - 1, 3 * 2**20).body == data[2**20 - 1 : 3 * 2**20 + 1]


def test_a_body_of_unknown_length_is_taken_if_it_fits(disk: Spocked) -> None:
    disk.create("/f")
    chunked: dict[str, str | bytes | int] = {
        "Transfer-Encoding": "chunked",
        "Content-Range": "bytes=0-4",
    }
    for body, status in (
        (b"2\r\nsp\r\n3\r\nock\r\n0\r\n\r\n", 200),
        (b"2\r\nxx\r\n0\r\n\r\n", 400),
    ):
        with disk.line() as line:
            line.send(message("PUT", b"/f", b"", chunked) + body)
            assert line.read().status == status
    assert disk.at("f").read_bytes()[2:] == b"ock"


def test_what_is_made_and_removed_at_once_leaves_nothing(disk: Spocked) -> None:
    disk.make("/f", b"data")
    assert disk.ask("DELETE", "/f").status == 200
    disk.nas.see()
    kinds = [type(event) for event in disk.events() if event.author == WHO]
    assert kinds[0] is Created
    assert kinds[-1] is Removed
    assert disk.nas.find(disk.at("f")) is None
