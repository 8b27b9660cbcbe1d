"""What `/metrics` says of a server's parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry

from api.connections import Connections
from eventlog.clock import SystemClock
from tests.serving import wait_until
from tools.compose import System
from tools.config import Config
from tools.gauges import Deliveries, Gauges
from tools.receivers import Webhook
from tools.roots import Root
from tools.webhooks import Feed, Receiver


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a").write_text("a")
    (tmp_path / "absent").mkdir()
    roots = (Root("media", f"{tmp_path}/media"), Root("usb", f"{tmp_path}/absent"))
    config = Config(roots, f"{tmp_path}/state/log.db", backend="inotify")
    system = System(config, SystemClock())
    system.start()
    wait_until(lambda: system.readiness().ready, "the first scan is done")
    wait_until(lambda: system.describer.status.done == 1, "the file is described")
    (tmp_path / "absent").rmdir()  # a root must have been seen once
    wait_until(lambda: bool(system.health().offline), "its absence is noticed")
    yield system
    system.stop()


@pytest.fixture
def registry(system: System) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Gauges(system, Connections(), "1.2.3"))
    return registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(name, labels)
    assert found is not None, (name, labels)
    return found


def test_the_state_of_the_server_is_told(system: System, registry: CollectorRegistry) -> None:
    labels = {"version": "1.2.3", "log_id": system.log.log_id}
    assert value(registry, "nasfeed_build", **labels) == 1
    assert value(registry, "nasfeed_ready") == 1
    assert value(registry, "nasfeed_log_head_position") == system.log.head
    assert value(registry, "nasfeed_log_events_total") == system.log.head >= 3
    assert value(registry, "nasfeed_log_commits_total") >= 1
    assert value(registry, "nasfeed_log_failed") == 0
    assert value(registry, "nasfeed_log_queue") == 0
    assert value(registry, "nasfeed_upkeep_failing") == 0
    assert value(registry, "nasfeed_database_bytes") > 0
    assert value(registry, "nasfeed_wal_bytes") > 0
    assert value(registry, "nasfeed_http_connections") == 0
    assert value(registry, "nasfeed_watches_limit") > value(registry, "nasfeed_watches") == 1
    assert value(registry, "nasfeed_metadata_done_total") == 1
    assert value(registry, "nasfeed_metadata_failed_total") == 0


def test_each_root_is_told_by_name(registry: CollectorRegistry) -> None:
    for root, state in (("media", "online"), ("usb", "offline")):
        for each in ("scanning", "online", "offline"):
            found = value(registry, "nasfeed_root_state", root=root, state=each)
            assert found == (each == state)
    assert value(registry, "nasfeed_root_scans_total", root="media") >= 1
    assert value(registry, "nasfeed_root_scan_entries", root="media") >= 1
    assert value(registry, "nasfeed_root_watches", root="media") == 1
    for root in ("media", "usb"):
        assert value(registry, "nasfeed_root_last_scan_timestamp_seconds", root=root) > 1e9


def test_a_scrape_asks_nothing_of_the_database(
    system: System, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> NoReturn:
        raise AssertionError("a scrape reads the database")

    monkeypatch.setattr(system.reader, "connection", forbidden)
    monkeypatch.setattr(system.log, "submit", forbidden)
    assert len(list(registry.collect())) > 20


def test_health_names_the_absent_root_and_is_ready(system: System) -> None:
    health = system.health()
    assert (health.failure, health.waiting_for) == ("", "")
    assert list(health.offline) == ["usb"]


def test_receivers_of_webhooks_are_told_apart_without_their_paths(system: System) -> None:
    feed = Feed(system.log, lambda: True, SystemClock())
    registry = CollectorRegistry()
    hooks = [Webhook(f"http://h/{path}", b"", "http://h") for path in ("secret", "other")]
    registry.register(Deliveries([Receiver(hook, feed) for hook in hooks]))
    for receiver in ("0 http://h", "1 http://h"):
        assert value(registry, "nasfeed_webhook_deliveries_total", receiver=receiver) == 0
        assert value(registry, "nasfeed_webhook_failures_total", receiver=receiver) == 0
        assert value(registry, "nasfeed_webhook_head_position", receiver=receiver) == 0
