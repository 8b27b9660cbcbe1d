import argparse
from pathlib import Path

import pytest

from tools import config
from tools.config import Config
from tools.document import LimitsSection
from tools.errors import OperatorError
from tools.roots import Root
from watcher.quiet import Span


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("NASFEED_TOKEN", raising=False)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    config.add_serve_options(parser)
    return parser.parse_args(words)


def serve(*words: str) -> Config:
    return config.serve_config(parsed(*words))


def written(tmp_path: Path, text: str) -> str:
    file = tmp_path / "server.yaml"
    file.write_text(text)
    return str(file)


def test_a_directory_alone_is_enough(tmp_path: Path) -> None:
    made = serve("/mnt/media")
    assert made.roots == (Root("media", "/mnt/media"),)
    assert (made.host, made.port) == ("127.0.0.1", 8080)
    assert made.metadata_workers >= 1
    assert made.backend == "auto"
    assert made.database.startswith(f"{tmp_path}/state/nasfeed/media-")
    assert made.database.endswith("/log.db")


def test_options_win() -> None:
    made = serve(
        *["/mnt/media", "--host", "::", "--port", "0", "--db", "/x/y.db"],
        *["--backend", "poll", "--log-level", "debug"],
    )
    assert (made.host, made.port, made.database) == ("::", 0, "/x/y.db")
    assert (made.backend, made.log_level) == ("poll", "debug")


def test_a_file_says_it_all_and_options_win_over_it(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
host: 0.0.0.0
port: 9000
database_url: /data/server.db
watches: {media: /mnt/media}
exclude: ["*.tmp"]
watcher: {backend: inotify, removal_percent: 80}
log_path: /data/x.log
metadata_workers: 1
metadata_rate: 20
quiet_hours: 23:00-07:00
skip_initial_hash: true
startup: wait
api: {token: t, hosts: [nas]}
limits: {connections: 5}
rescan_interval: 5
poll_interval: 6
log_level: error
""",
    )
    made = serve("--config", file, "--port", "1")
    assert made == Config(
        roots=(Root("media", "/mnt/media"),),
        database="/data/server.db",
        host="0.0.0.0",  # noqa: S104 - as written
        port=1,
        exclude=("*.tmp",),
        log_path="/data/x.log",
        log_level="error",
        metadata_workers=1,
        metadata_rate=20,
        quiet_hours=(Span(1380, 420),),
        removal_percent=80,
        skip_initial_hash=True,
        backend="inotify",
        startup="wait",
        token="t",  # noqa: S106 - as written
        hosts=("nas",),
        limits=LimitsSection(connections=5),
        rescan_interval=5,
        poll_interval=6,
        origins={"database_url": file, "log_path": file},
    )


def test_the_default_file_is_the_peers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert config.DEFAULT_FILE == "/data/server.yaml"
    monkeypatch.setattr(config, "DEFAULT_FILE", written(tmp_path, "watches: {a: /a}"))
    assert serve().roots == (Root("a", "/a"),)


def test_without_directory_and_file_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(config, "DEFAULT_FILE", f"{tmp_path}/none.yaml")
    with pytest.raises(OperatorError, match=r"which directory\? Say: nasfeed serve DIR"):
        serve()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("host: a", "watches is empty; add a line 'NAME: DIR'"),
        ("watches: {a: ''}", "watches: 'a': give a directory"),
        ("watches: {a: /x, b: /x/y}", "one lies in the other"),
        ("watches: {a: /x}\ndatabase_url: postgres://x", "the database must be a file"),
        ("watches: {a: /x}\ndatabase_url: /tmp", "this is a directory"),
        ("port: x", "server.yaml:1: port"),
        ("watches: {a: /x}\nquiet_hours: 1-2", "quiet_hours: give two different times of day"),
    ],
)
def test_a_faulty_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        serve("--config", written(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match=r"no.yaml: no such file"):
        serve("--config", f"{tmp_path}/no.yaml")
    with pytest.raises(OperatorError, match="Is a directory"):
        serve("--config", str(tmp_path))
    (tmp_path / "b.yaml").write_bytes(b"host: \xff")
    with pytest.raises(OperatorError, match="no UTF-8 text"):
        serve("--config", f"{tmp_path}/b.yaml")


def test_directories_and_a_file_do_not_mix() -> None:
    with pytest.raises(OperatorError, match="give directories or --config, not both"):
        serve("/x", "--config", "y")


@pytest.mark.parametrize(
    ("url", "path"),
    [("/a/b.db", "/a/b.db"), ("sqlite:////a/b.db", "/a/b.db"), ("c.db", "{cwd}/c.db")],
)
def test_ways_to_write_a_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, f"watches: {{a: /x}}\ndatabase_url: '{url}'")
    assert serve("--config", file).database == path.format(cwd=tmp_path)


def test_another_directory_has_another_database() -> None:
    assert serve("/mnt/a").database != serve("/mnt/b").database
    assert serve("/mnt/a").database == serve("x=/mnt/a").database.replace("/x-", "/a-")


def test_the_state_is_in_the_home_directory_when_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert serve("/mnt/a").database.startswith("/home/someone/.local/state/nasfeed/a-")


def test_every_command_finds_the_database_that_serve_uses(tmp_path: Path) -> None:
    file = written(tmp_path, "watches: {a: /x}")
    for words in (["/mnt/a"], ["/mnt/a", "--db", "/d.db"], ["--config", file]):
        assert config.database_path(parsed(*words)) == serve(*words).database
    assert config.database_path(parsed("--db", "/only.db")) == "/only.db"


def test_the_token_may_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NASFEED_TOKEN", "from outside")
    assert serve("/mnt/a").token == "from outside"  # noqa: S105 - no secret
    file = written(tmp_path, "watches: {a: /x}\napi: {token: from file}")
    assert serve("--config", file).token == "from file"  # noqa: S105 - no secret


@pytest.mark.parametrize("port", ["-1", "65536", "x", "8_0", "٣"])
def test_a_port_is_a_number(port: str) -> None:
    with pytest.raises(SystemExit):
        serve("/x", "--port", port)


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of a test


def test_webhooks_are_read(tmp_path: Path) -> None:
    text = f"""
watches: {{a: /x}}
webhooks:
  - url: https://hooks.example:8443/a?key=1
    secret: {SECRET}
  - {{url: "http://[::1]/b", secret: "a text of more than twenty-four bytes"}}
"""
    first, second = serve("--config", written(tmp_path, text)).webhooks
    assert first.url == "https://hooks.example:8443/a?key=1"
    assert first.receiver == "https://hooks.example:8443"
    assert (len(first.secret), first.secret[:2]) == (24, b"1\xf2")
    assert (second.receiver, second.secret[:6]) == ("http://[::1]", b"a text")


@pytest.mark.parametrize(
    ("webhook", "message"),
    [
        (f"{{url: 'ftp://x', secret: {SECRET}}}", "webhooks[0].url: give a URL"),
        (f"{{url: 'nas/hook', secret: {SECRET}}}", "webhooks[0].url: give a URL"),
        (f"{{url: 'http://h:port', secret: {SECRET}}}", "webhooks[0].url: this is no URL"),
        (f"{{url: 'http://u:p@h/', secret: {SECRET}}}", "webhooks[0].url: a URL with a password"),
        ("{url: 'http://h/', secret: short}", "webhooks[0].secret: give at least 24 bytes"),
        ("{url: 'http://h/', secret: 'whsec_!'}", "webhooks[0].secret: what follows whsec_"),
        ("{url: 'http://h/', secret: 'whsec_AAAA'}", "webhooks[0].secret: give at least 24"),
        ("{url: 'http://h/'}", "server.yaml:2: webhooks[0]: object missing"),
        ("{url: 'http://h/', secert: x}", "server.yaml:2: unknown key webhooks[0].secert"),
        (f"{{url: a, url: b, secret: {SECRET}}}", "the key webhooks[0].url is here a second"),
        ("text", "server.yaml:2: webhooks[0]: expected keys and values"),
    ],
)
def test_a_faulty_webhook_is_refused(tmp_path: Path, webhook: str, message: str) -> None:
    file = written(tmp_path, f"watches: {{a: /x}}\nwebhooks: [{webhook}]")
    with pytest.raises(OperatorError) as caught:
        serve("--config", file)
    assert message in str(caught.value)
    assert str(caught.value).startswith(file)
    assert "MfKQ9r8G" not in str(caught.value)
