"""What the served description of the API promises is what is answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.app import Access
from eventlog.events import Moved
from tests.api.support import STARTING, MemoryLog, Server, make_app, node_id, serving, state

TYPES: dict[str, set[type]] = {
    "string": {str},
    "integer": {int},
    "number": {int, float},
    "boolean": {bool},
    "array": {list},
    "object": {dict},
    "null": {type(None)},
}


FEED_PATHS = (
    "/api/v1/cursor",
    "/api/v1/changes",
    "/api/v1/changes/stream",
    "/api/v1/snapshot",
    "/api/v1/root",
    "/api/v1/nodes/{node_id}/path",
    "/api/v1/nodes/{node_id}",
    "/api/v1/nodes/{node_id}/children",
    "/api/v1/nodes/{node_id}/history",
    "/api/v1/nodes/by-path",
    "/api/v1/status",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    log = MemoryLog()
    log.create(b"a")
    log.create(b"\xff", mode=0o120777, target=b"\xfe")
    log.remove(log.create(b"b"))
    log.paths[1] = b"/x/\xff"
    top = log.create(b"r", mode=0o040755, target=b"/r")
    log.append(Moved("", state(b"c", top), top, b"\xfe"), log.create(b"\xfe", top))
    with serving(make_app(log)) as running:
        yield running


@pytest.fixture(scope="module")
def schema(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/schema/openapi.json")
    return found


def mismatches(value: object, wanted: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Check a value against a schema, as far as this API's schemas go."""
    if "$ref" in wanted:
        wanted = schema["components"]["schemas"][wanted["$ref"].rsplit("/", 1)[1]]
    if "oneOf" in wanted:
        fits = [one for one in wanted["oneOf"] if not mismatches(value, one, schema)]
        return [] if len(fits) == 1 else [f"{value!r} fits {len(fits)} of {wanted}"]
    if "const" in wanted and value != wanted["const"]:
        return [f"{value!r} is not {wanted['const']!r}"]
    if "enum" in wanted and value not in wanted["enum"]:
        return [f"{value!r} is none of {wanted['enum']}"]
    if type(value) not in TYPES[wanted["type"]]:
        return [f"{value!r} is no {wanted['type']}"]
    return _part_mismatches(value, wanted, schema)


def _part_mismatches(value: object, wanted: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    if isinstance(value, list):
        return [fault for one in value for fault in mismatches(one, wanted["items"], schema)]
    return _key_mismatches(value, wanted, schema) if isinstance(value, dict) else []


def _key_mismatches(
    value: dict[str, object], wanted: dict[str, Any], schema: dict[str, Any]
) -> list[str]:
    known = wanted["properties"]
    faults = [f"no {key!r}" for key in wanted["required"] if key not in value]
    faults += [f"{key!r} is not described" for key in value if key not in known]
    for key in value.keys() & known.keys():
        faults += mismatches(value[key], known[key], schema)
    return faults


def described(schema: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    responses = schema["paths"][path]["get"]["responses"]
    found: dict[str, Any] = responses[str(status)]["content"]["application/json"]["schema"]
    return found


@pytest.mark.parametrize(
    ("path", "target", "status"),
    [
        ("/api/v1/cursor", "/api/v1/cursor", 200),
        ("/api/v1/changes", "/api/v1/changes", 200),
        ("/api/v1/changes", "/api/v1/changes?cursor=3", 200),
        ("/api/v1/changes", "/api/v1/changes?cursor=x", 400),
        ("/api/v1/changes", "/api/v1/changes?cursor=999", 410),
        ("/api/v1/root", "/api/v1/root", 200),
        ("/api/v1/status", "/api/v1/status", 200),
        ("/health/live", "/health/live", 200),
        ("/health/ready", "/health/ready", 200),
        ("/api/v1/nodes/{node_id}/path", f"/api/v1/nodes/{node_id(1)}/path", 200),
        ("/api/v1/nodes/{node_id}/path", f"/api/v1/nodes/{node_id(9)}/path", 404),
        ("/api/v1/nodes/{node_id}/path", f"/api/v1/nodes/{node_id(0)}/path", 400),
        ("/api/v1/cursor", "/api/v1/cursor?at=2026-03-04T12:00:00Z", 200),
        ("/api/v1/cursor", "/api/v1/cursor?at=x", 400),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(0)}", 200),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(1)}", 200),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(2)}", 200),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(3)}", 200),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(3)}?at=x", 400),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(9)}", 404),
        ("/api/v1/nodes/{node_id}", f"/api/v1/nodes/{node_id(1)}?at=99", 410),
        ("/api/v1/nodes/{node_id}/children", f"/api/v1/nodes/{node_id(0)}/children", 200),
        ("/api/v1/nodes/{node_id}/children", f"/api/v1/nodes/{node_id(5)}/children", 200),
        ("/api/v1/nodes/{node_id}/children", f"/api/v1/nodes/{node_id(1)}/children", 400),
        ("/api/v1/nodes/{node_id}/children", f"/api/v1/nodes/{node_id(3)}/children", 404),
        ("/api/v1/nodes/{node_id}/children", f"/api/v1/nodes/{node_id(0)}/children?at=99", 410),
        ("/api/v1/nodes/{node_id}/history", f"/api/v1/nodes/{node_id(3)}/history", 200),
        ("/api/v1/nodes/{node_id}/history", f"/api/v1/nodes/{node_id(6)}/history", 200),
        ("/api/v1/nodes/{node_id}/history", f"/api/v1/nodes/{node_id(3)}/history?after=x", 400),
        ("/api/v1/nodes/{node_id}/history", f"/api/v1/nodes/{node_id(9)}/history", 404),
        ("/api/v1/nodes/by-path", "/api/v1/nodes/by-path?path=/r", 200),
        ("/api/v1/nodes/by-path", "/api/v1/nodes/by-path?path=/b", 404),
        ("/api/v1/nodes/by-path", "/api/v1/nodes/by-path?path=b", 400),
        ("/api/v1/nodes/by-path", "/api/v1/nodes/by-path?path=/r&at=99", 410),
    ],
)
def test_an_answer_is_as_described(
    server: Server, schema: dict[str, Any], path: str, target: str, status: int
) -> None:
    answer = server.ask(target)
    assert answer.status == status
    assert mismatches(answer.json, described(schema, path, status), schema) == []


def test_refusals_of_every_path_are_as_described(schema: dict[str, Any]) -> None:
    with (
        serving(make_app(MemoryLog(), STARTING)) as starting,
        serving(make_app(MemoryLog(), access=Access(token="x"))) as closed,  # noqa: S106 - a test
    ):
        for path in FEED_PATHS:
            target = path.replace("{node_id}", node_id(1))
            answers = [starting.ask(target, Host="evil.example"), closed.ask(target)]
            answers += [] if path.endswith("status") else [starting.ask(target)]
            assert [answer.status for answer in answers] == [421, 401, 503][: len(answers)]
            for answer in answers:
                wanted = described(schema, path, answer.status)
                assert mismatches(answer.json, wanted, schema) == []


def test_the_description_covers_the_whole_api(schema: dict[str, Any]) -> None:
    assert set(schema["paths"]) == {*FEED_PATHS, "/health/live", "/health/ready", "/metrics"}
    assert schema["info"]["version"] == "1.2.3"


def test_every_path_is_described_with_head_as_get_without_a_body(
    server: Server, schema: dict[str, Any]
) -> None:
    names = [way["operationId"] for path in schema["paths"].values() for way in path.values()]
    assert len(set(names)) == len(names)
    for path, ways in schema["paths"].items():
        assert list(ways) == ["get", "head"]
        assert set(ways["head"]["responses"]) == set(ways["get"]["responses"])
        assert "content" not in str(ways["head"]["responses"])
        if path.startswith("/api"):
            answer = server.ask(path.replace("{node_id}", node_id(5)), "POST")
            assert mismatches(answer.json, described(schema, path, 405), schema) == []
            assert {"405", "408", "421", "431"} <= set(ways["get"]["responses"])


def test_a_token_is_described_when_there_is_one(schema: dict[str, Any]) -> None:
    assert "security" not in schema
    with serving(make_app(MemoryLog(), access=Access(token="x"))) as closed:  # noqa: S106 - a test
        secured = closed.get("/schema/openapi.json", Authorization="Bearer x")
    assert secured["security"] == [{"token": []}]
    assert secured["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
