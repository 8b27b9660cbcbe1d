"""The check finds each kind of damage that it is there for."""

from pathlib import Path

import apsw
import pytest

from eventlog import codec
from eventlog.check import check
from eventlog.connection import open_reader
from eventlog.events import Created, Modified, Removed
from eventlog.log import Draft, Log
from projections.replay import FOLDS
from tests.eventlog.helpers import file_state, files

TOMBSTONE = Removed("", "deleted", 1, b"f0", 0o100644)
RECORD = codec.encode(Modified("", file_state())).hex()
BIRTH = codec.encode(Created("", file_state())).hex()

INSERT = "insert into events values (9, {}, 9e18, x'{}')"


@pytest.fixture
def made(path: Path) -> Path:
    log = Log(str(path), FOLDS)
    log.append([*files(3), Draft(1, TOMBSTONE), Draft(2, Modified("", file_state()))])
    log.close()
    return path


def problems(path: Path) -> list[str]:
    reader = open_reader(str(path))
    found = list(check(reader))
    reader.close()
    assert not any("\n" in line for line in found)
    return found


def damage(path: Path, script: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(script).fetchall()
    connection.close()


def test_a_sound_log_has_no_problems(made: Path) -> None:
    assert problems(made) == []


def test_an_empty_log_has_no_problems(path: Path) -> None:
    Log(str(path), FOLDS).close()
    assert problems(path) == []


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("update events set record = x'00' where position = 2", "position 2: record cannot be"),
        ("update events set record = x'00' where position = 5", "position 5: record cannot be"),
        ("update events set time_us = 0 where position = 3", "position 3: its time, 0, is before"),
        ("update events set position = -1 where position = 1", "position -1: positions begin at 1"),
        ("update sqlite_sequence set seq = 4", "position 5: above the head, 4"),
        ("delete from sqlite_sequence", "position 5: above the head, 0"),
        ("delete from events where position = 1", "the first event of node 1 is not its creation"),
        ("delete from events where position = 2", "the first event of node 2 is not its creation"),
        (INSERT.format(9, RECORD), "first event of node 9 is not"),
        (INSERT.format(1, RECORD), "node 1 was already gone"),
        (INSERT.format(3, BIRTH), "node 3 was already there"),
        ("update events set node = 2 where position = 3", "position 3: node 2 was already there"),
        ("update meta set value = '7' where key = 'floor'", "meta: floor is '7'"),
        ("update meta set value = 'x' where key = 'floor'", "meta: floor is 'x'"),
        ("delete from meta where key = 'floor'", "meta: floor is None"),
        ("delete from meta where key = 'log_id'", "meta: there is no log_id"),
        ("update meta set value = 'a' where key = 'id_prefix'", "meta: not a node id prefix: 'a'"),
    ],
)
def test_damage_is_found(made: Path, script: str, problem: str) -> None:
    damage(made, script)
    assert any(problem in line for line in problems(made)), problems(made)


def test_after_a_squash_a_node_may_be_older_than_its_first_event(made: Path) -> None:
    damage(
        made, "delete from events where position = 2; update meta set value = 3 where key = 'floor'"
    )
    assert problems(made) == []


def test_a_damaged_page_is_found(path: Path) -> None:
    log = Log(str(path), FOLDS)
    log.append(files(2_000))
    log.close()
    content = bytearray(path.read_bytes())
    for page in range(5, len(content) // 4096, 7):
        content[page * 4096 : page * 4096 + 64] = b"\xa5" * 64
    path.write_bytes(content)
    found = problems(path)
    assert found
    assert all(line.startswith("the file is damaged: ") for line in found)


def test_an_index_that_lost_a_row_is_found(made: Path) -> None:
    connection = apsw.Connection(str(made))
    connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
    connection.execute(
        "update sqlite_schema set sql = sql || ' where position <> 2' where name = 'events_by_node'"
    )
    connection.close()
    connection = apsw.Connection(str(made))
    connection.execute("reindex events_by_node")
    connection.config(apsw.SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1)
    connection.execute(
        "update sqlite_schema set sql = replace(sql, ' where position <> 2', '')"
        " where name = 'events_by_node'"
    )
    connection.close()
    assert any("missing from index events_by_node" in line for line in problems(made))
