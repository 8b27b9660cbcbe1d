"""What probes and Prometheus are answered."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from api.app import Access
from api.status import Health
from tests.api.support import STARTING, MemoryLog, Server, make_app, node_id, serving

SECRET = "s3cret"  # noqa: S105 - of a test
TOKEN = f"Bearer {SECRET}"


def samples(server: Server, **headers: str) -> dict[tuple[str, str, str], float]:
    """Scrape; gives values by name, route and status."""
    text = server.ask("/metrics", **headers).body.decode()
    return {
        (sample.name, sample.labels.get("route", ""), sample.labels.get("status", "")): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def probe(health: Health, path: str, access: Access | None = None, **headers: str) -> Any:  # noqa: ANN401 - as json.loads
    with serving(make_app(MemoryLog(), access=access, health=health)) as server:
        answer = server.ask(path, **headers)
        return answer.status, answer.json


def test_a_healthy_server_is_alive_and_ready() -> None:
    assert probe(Health(), "/health/live") == (200, {"status": "alive", "reason": ""})
    assert probe(Health(), "/health/ready") == (
        200,
        {"status": "ready", "reason": "", "roots_offline": 0, "offline": []},
    )


def test_a_server_that_still_scans_is_alive_but_not_ready() -> None:
    scanning = Health(waiting_for="a scan")
    assert probe(scanning, "/health/live")[0] == 200
    status, body = probe(scanning, "/health/ready")
    assert (status, body["status"], body["reason"]) == (503, "not_ready", "a scan")


def test_a_server_whose_log_failed_is_neither() -> None:
    failed = Health(failure="the disk is gone")
    assert probe(failed, "/health/live") == (
        503,
        {"status": "failed", "reason": "the disk is gone"},
    )
    assert probe(failed, "/health/ready")[0] == 503


def test_an_absent_root_is_named_and_changes_nothing_else() -> None:
    status, body = probe(Health(offline=["usb"]), "/health/ready")
    assert (status, body["status"]) == (200, "ready")
    assert (body["roots_offline"], body["offline"]) == (1, ["usb"])


def test_probes_need_no_token_but_get_no_names_without_it() -> None:
    access, health = Access(token=SECRET), Health(offline=["usb"])
    assert probe(health, "/health/live", access)[0] == 200
    for method in ("GET", "HEAD"):
        with serving(make_app(MemoryLog(), access=access, health=health)) as server:
            assert server.ask("/health/ready", method).status == 200
    assert probe(health, "/health/ready", access)[1]["offline"] == []
    assert probe(health, "/health/ready", access)[1]["roots_offline"] == 1
    with_token = probe(health, "/health/ready", access, Authorization=TOKEN)
    assert with_token[1]["offline"] == ["usb"]


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/health", "/health/", "/health/live/", "//health/live", "/health/live/../ready"],
)
def test_nothing_else_is_open(path: str) -> None:
    with serving(make_app(MemoryLog(), access=Access(token=SECRET))) as server:
        assert server.ask(path).status == 401


def test_probes_are_under_the_servers_own_names_as_all_else() -> None:
    assert probe(Health(), "/health/live", Host="evil.example")[0] == 421


def test_requests_are_counted_by_route_and_status() -> None:
    log = MemoryLog()
    with serving(make_app(log)) as server:
        for path in ("cursor", "changes", "changes?cursor=x", "changes?cursor=9", "status"):
            server.ask(f"/api/v1/{path}")
        for number in (1, 2):
            server.ask(f"/api/v1/nodes/{node_id(number)}/path")
        server.ask("/api/v1/nodes/x/path")
        server.ask("/wp-login.php")
        server.ask("/health/live")
        found = samples(server)
    requests = {key[1:]: n for key, n in found.items() if key[0] == "nasfeed_http_requests_total"}
    assert requests == {
        ("/api/v1/cursor", "200"): 1,
        ("/api/v1/changes", "200"): 1,
        ("/api/v1/changes", "400"): 1,
        ("/api/v1/changes", "410"): 1,
        ("/api/v1/status", "200"): 1,
        ("/api/v1/nodes/{node_id}/path", "404"): 3,
        ("other", "404"): 1,
        ("/health/live", "200"): 1,
    }
    timed = found["nasfeed_http_request_duration_seconds_count", "/api/v1/changes", ""]
    assert timed == 3


def test_refusals_are_counted_too() -> None:
    with serving(make_app(MemoryLog(), STARTING, Access(token=SECRET))) as server:
        server.ask("/api/v1/cursor")
        server.ask("/api/v1/cursor", Authorization=TOKEN)
        found = samples(server, Authorization=TOKEN)
    for status in ("401", "503"):
        assert found["nasfeed_http_requests_total", "/api/v1/cursor", status] == 1


def test_the_process_is_measured() -> None:
    with serving(make_app(MemoryLog())) as server:
        found = samples(server)
    assert found["process_resident_memory_bytes", "", ""] > 1_000_000
    assert found["process_open_fds", "", ""] > 0


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text"),
    ],
)
def test_the_format_is_what_the_scraper_asked_for(accept: str, content_type: str) -> None:
    with serving(make_app(MemoryLog())) as server:
        answer = server.ask("/metrics", Accept=accept)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(content_type)
    assert answer.body.endswith(b"# EOF\n") is content_type.startswith("application")
