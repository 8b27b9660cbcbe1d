"""Junk gets an answer, and nothing else happens: no failure of the server, no thread that hangs."""

import random
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from api.library.routes import ROUTES
from eventlog.library import Right
from tests.api.library.family import Family, family

NAMES = (
    *("id", "ids", "pids", "pageIndex", "types", "sort", "name", "size", "type", "helpText"),
    *("cid", "parentId", "memo", "createTime", "duration", "level", "shareKey", "rootIds", "ext"),
)
VALUES = (
    *("-1", "0", "1", "2", "1,2", "x", "", "9" * 30, "1e400", "NaN", "-0.0", "\0", "..", "é" * 50),
    *("'; rm -rf ~; '", "' or 1=1 --", "\ud7ff", "%ff", "[]", "null", "1.5", "[1]"),
)
TYPES = (
    *("application/json", "application/x-www-form-urlencoded", "text/plain", ""),
    *("multipart/form-data", "multipart/form-data; boundary=b", 'multipart/form-data; boundary="'),
)
BODIES = (
    *(b"", b"{", b"[]", b'{"id":{}}', b'{"id":[1]}', b'{"id":true}', b"\xff\xfe", b"a=b&" * 200),
    *(b"[" * 5_000, b"--b\r\n", b"--b\r\nContent-Disposition: form-data; name=\r\n\r\nx\r\n--b--"),
    b'--b\r\nContent-Disposition: form-data; name="x"; filename="origin"\r\n\r\nx',
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    with family(tmp_path_factory.mktemp("home"), online_threshold=1_000) as home:
        home.add("Terry", Right("photos", write=True))
        yield home


@pytest.mark.parametrize("name", sorted(ROUTES))
def test_junk_gets_an_answer(home: Family, name: str) -> None:
    chance = random.Random(name)  # noqa: S311 - only chooses what is asked
    person = home.person("terry")
    for _ in range(25):
        chosen = chance.sample(NAMES, 5)
        query = "&".join(
            f"{key}={quote(chance.choice(VALUES), errors='replace')}" for key in chosen
        )
        method = chance.choice(ROUTES[name].methods)
        body = chance.choice(BODIES) if method == "POST" else None
        kind = chance.choice(TYPES)
        reply = person.ask(method, f"/{name}.icc?{query}", body, Content_Type=kind)
        assert reply.status < 500, (method, query, body, kind)
        if reply.fields["content-type"] == "application/json" and method != "HEAD":
            assert "code" in reply.json


@pytest.mark.parametrize(
    "path", ["/%2e%2e/login.icc", "/login.icc/", "/LOGIN.icc", "/login.icc%00", "/é.icc", "/x.icc"]
)
def test_odd_paths_are_not_ours_or_not_found(home: Family, path: str) -> None:
    assert home.person().ask("GET", quote(path, safe="/%")).status in (400, 404)


def test_a_body_that_is_too_long_is_refused(home: Family) -> None:
    reply = home.person("terry").ask(
        "POST", "/createCatalog.icc", b"x" * 2_000_000, Content_Type="application/json"
    )
    assert reply.status == 413
