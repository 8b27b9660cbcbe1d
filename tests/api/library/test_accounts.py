"""Sessions and passwords: what a thief or a guesser gets."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.library.accounts import digest
from api.library.passwords import Attempts, hash_password, is_right
from eventlog.clock import SystemClock
from eventlog.connection import open_reader
from eventlog.library import Right
from projections import library_users
from tests.api.library.family import Family, Person, family


class MovingClock(SystemClock):
    """The real clock, some time ahead."""

    ahead_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.ahead_us


class Passing(SystemClock):
    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock()


@pytest.fixture
def home(tmp_path: Path, clock: MovingClock) -> Iterator[Family]:
    with family(tmp_path, clock, online_timeout=60, share_url_timeout=60) as home:
        home.add("Terry", Right("photos", write=True))
        yield home


def test_a_password_is_right_or_wrong() -> None:
    hashed = hash_password("geheim é")
    assert hashed.startswith("$argon2id$")
    assert is_right("geheim é", hashed)
    for password in ("geheim", "", "x" * 2_000):
        assert not is_right(password, hashed)
    assert not is_right("x", None)
    assert not is_right("x", "")
    assert not is_right("x", "no hash")


def test_wrong_passwords_and_unknown_users_are_told_the_same(home: Family) -> None:
    person = home.person()
    wrong, unknown = person.log_in("terry", "wrong"), person.log_in("nobody", "wrong")
    assert wrong.json == unknown.json == {"code": -10000, "msg": "用户名或密码错误"}
    assert person.post("login", userName="terry").code == -10003


def test_guessing_is_slowed_down(home: Family) -> None:
    person = home.person()
    for _ in range(10):
        assert person.log_in("terry", "wrong").status == 200
    refused = person.log_in("terry")
    assert (refused.status, refused.code) == (429, -10000)
    assert 0 < int(refused.fields["retry-after"]) <= 60


def test_attempts_are_counted_for_a_minute_and_forgiven_by_success() -> None:
    clock = Passing()
    attempts = Attempts(clock)
    for _ in range(3):
        assert attempts.take(("a", 3), ("b", 100)) == 0
    assert attempts.take(("a", 3), ("b", 100)) > 0
    assert attempts.take(("c", 3), ("b", 100)) == 0
    clock.seconds += 61
    assert attempts.take(("a", 3)) == 0
    attempts.forgive("a")
    for _ in range(3):
        assert attempts.take(("a", 3)) == 0


def test_a_forged_cookie_opens_nothing(home: Family) -> None:
    home.person("terry")
    for token in ("", "x", secrets.token_urlsafe(32), digest("x").hex(), "é" * 40):
        person = home.person()
        person.cookie = f"session={token}".encode().decode("latin-1")
        assert person.get("catalogs", pids=-1).code == -10001


def test_tokens_keys_and_passwords_are_not_in_the_log(home: Family) -> None:
    terry = home.person("terry")
    (home.nas.roots["photos"] / "a.txt").write_bytes(b"x")
    number = home.number(home.nas.roots["photos"] / "a.txt")
    key = terry.get("shareFileUrl", id=number).data
    token = terry.cookie.partition("=")[2]
    connection = open_reader(home.nas.config.database)
    records = b"".join(row[0] for row in connection.execute("select record from events"))
    connection.close()
    for secret in (key, token, "correct horse"):
        assert secret.encode() not in records
    assert digest(token) in records


def test_a_session_ends_when_it_is_not_used_and_goes_on_when_it_is(
    home: Family, clock: MovingClock
) -> None:
    terry = home.person("terry")
    for _ in range(3):
        clock.ahead_us += 40_000_000
        assert terry.get("catalogs", pids=-1).code == 0
    clock.ahead_us += 61_000_000
    assert terry.get("catalogs", pids=-1).code == -10001


def shared(home: Family, person: Person) -> str:
    """Have somebody share a file of one byte; return where it is read."""
    file = home.nas.roots["photos"] / "a.txt"
    file.write_bytes(b"x")
    return f"/shareFile.icc?shareKey={person.get('shareFileUrl', id=home.number(file)).data}"


def test_a_share_ends_with_its_time(home: Family, clock: MovingClock) -> None:
    target = shared(home, home.person("terry"))
    assert home.person().ask("GET", target).body == b"x"
    clock.ahead_us += 61_000_000
    assert home.person().ask("GET", target).status == 404


def test_a_share_dies_with_the_right_of_who_shared(home: Family) -> None:
    target, stranger = shared(home, home.person("terry")), home.person()
    less = library_users.change_user("terry", rights=[Right("photos", write=False)])
    home.store.change(less, "test")
    assert stranger.ask("GET", target).body == b"x"
    for rights in ([], [Right("photos", write=True)]):
        home.store.change(library_users.change_user("terry", rights=rights), "test")
        assert stranger.ask("GET", target).status == 404


@pytest.mark.parametrize("what", ["password", "removal"])
def test_another_password_or_a_removal_ends_all_sessions_and_shares(
    home: Family, what: str
) -> None:
    one, two = home.person("terry"), home.person("terry")
    target = shared(home, one)
    assert home.person().ask("GET", target).status == 200
    if what == "password":
        job = library_users.change_user("terry", password=hash_password("another"))
    else:
        job = library_users.remove("terry")
    home.store.change(job, "test")
    assert [one.get("catalogs", pids=-1).code, two.get("catalogs", pids=-1).code] == [-10001] * 2
    assert home.person().log_in("terry").code == -10000
    assert home.person().ask("GET", target).status == 404


def test_there_are_only_so_many_sessions(tmp_path: Path) -> None:
    with family(tmp_path, online_threshold=2) as home:
        home.add("Terry", Right("photos", write=True))
        people = [home.person("terry") for _ in range(3)]
        codes = [person.get("catalogs", pids=-1).code for person in people]
        assert codes == [-10001, 0, 0]
