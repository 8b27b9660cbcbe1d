"""Who may use the store, and which name that gets in the log."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.credentials import Secrets
from api.files.refusal import Refusal
from api.filetracker.access import Gate
from eventlog.events import Created
from tests.api.filetracker.tracking import Tracked, tracked


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracked]:
    path = tmp_path_factory.mktemp("store")
    with tracked(path, tokens={"alice": "wonder"}, read_tokens={"bob": "look"}) as store:
        yield store


STRANGERS = [
    "",
    "Bearer",
    "Bearer x",
    "Basic",
    "Basic !!!",
    "Digest wonder",
    basic("alice", "x"),
    basic("bob", "wonder"),
    basic("alice", ""),
]


@pytest.mark.parametrize("authorization", STRANGERS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_strangers_are_asked_who_they_are(store: Tracked, method: str, authorization: str) -> None:
    fields: dict[str, Any] = {"Authorization": authorization} if authorization else {}
    reply = store.ask(method, "/files/a", **fields)
    assert reply.status == 401
    assert reply.fields["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("authorization", ["Bearer wonder", basic("alice", "wonder")])
def test_a_token_opens_all_and_gives_its_name_to_the_log(
    store: Tracked, authorization: str
) -> None:
    head = store.nas.head
    name = str(len(authorization))
    assert store.put(name, Authorization=authorization).status == 200
    assert store.get(name, Authorization=authorization).status == 200
    authors = {e.author for e in store.nas.events(head) if isinstance(e, Created)}
    assert "filetracker:alice" in authors


@pytest.mark.parametrize("authorization", ["Bearer look", basic("bob", "look")])
def test_a_token_for_reading_only_reads(store: Tracked, authorization: str) -> None:
    assert store.list(Authorization=authorization).status == 200
    assert store.put("x", Authorization=authorization).status == 403
    assert store.delete("x", Authorization=authorization).status == 403


def test_the_tokens_of_the_store_do_not_open_the_feed(tmp_path: Path) -> None:
    with tracked(tmp_path, tokens={"alice": "wonder"}) as store:
        assert store.ask("GET", "/api/v1/cursor").status == 200  # which has no token here
        assert store.ask("GET", "/version").status == 401


def test_without_tokens_anyone_may_do_everything() -> None:
    assert Gate(Secrets({}, {})).author("Bearer x", writes=True) == "filetracker"


def test_a_token_without_a_name_takes_that_of_the_client() -> None:
    gate = Gate(Secrets({"": "secret"}, {}))
    assert gate.author("Bearer secret", writes=True) == "filetracker"
    assert gate.author(basic("carol", "secret"), writes=True) == "filetracker:carol"
    with pytest.raises(Refusal):
        gate.author("Bearer other", writes=False)
