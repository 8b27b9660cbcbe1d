import msgspec
import pytest

from tools.document import ApiSection, Document, LimitsSection, WatcherSection, known_keys, parse
from tools.errors import OperatorError

PEER = """\
host: "0.0.0.0"
port: 8080
database_url: "/data/db/server.db"
watches:
  media: /mnt/media
  photos: /mnt/photos
watcher:
  backend: inotify  # or "fanotify"
# Optional:
# exclude:
#   - "*.tmp"
# log_path: /data/logs/server.log
"""
"""The example in the README of wcpan.drive.feed 1.6.0."""


def test_the_peers_own_example_is_read() -> None:
    assert parse(PEER, "f") == Document(
        host="0.0.0.0",  # noqa: S104 - as written
        port=8080,
        database_url="/data/db/server.db",
        watches={"media": "/mnt/media", "photos": "/mnt/photos"},
        watcher=WatcherSection("inotify"),
    )


def test_every_key_of_the_peer_and_our_own_are_read() -> None:
    text = (
        PEER.replace("# ", "").replace("Optional:\n", "").replace("#", "").replace(' or "fan', " #")
        + """
metadata_workers: 3
skip_initial_hash: true
startup: wait
rescan_interval: 60
poll_interval: 2.5
log_level: debug
api: {token: secret, hosts: [nas.lan]}
limits: {connections: 10, connections_per_client: 5, request_seconds: 1}
"""
    )
    document = parse(text, "f")
    assert document.exclude == ("*.tmp",)
    assert document.log_path == "/data/logs/server.log"
    assert document.metadata_workers == 3
    assert document.skip_initial_hash
    assert document.startup == "wait"
    assert (document.rescan_interval, document.poll_interval) == (60, 2.5)
    assert document.api == ApiSection("secret", ("nas.lan",))
    assert document.limits == LimitsSection(10, 5, 1)
    assert document.log_level == "debug"


def test_the_known_keys_are_those_of_the_file() -> None:
    keys = known_keys()
    assert {"watcher.backend", "api.token", "watches", "database_url"} <= set(keys)
    assert len(keys) == len(set(keys))
    top = {key.partition(".")[0] for key in keys}
    assert top == {field.name for field in msgspec.structs.fields(Document)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exclud: [a]", "f:1: unknown key exclud; did you mean exclude?"),
        ("host: a\nwatcher: {bakend: auto}", "f:2: unknown key watcher.bakend; did you mean wat"),
        ("zzz: 1", "f:1: unknown key zzz; known keys are host, port,"),
        ("port: x", "f:1: port: expected a whole number, got text"),
        ("port: 99999", "f:1: port: expected a whole number <= 65535"),
        ("port: 8080.5", "f:1: port: expected a whole number, got a number"),
        ("watcher: {backend: foo}", "must be one of auto, inotify, fanotify, poll, not 'foo'"),
        ("startup: x", "f:1: startup: must be one of serve, wait, not 'x'"),
        ("a: &a\n  b: *a", "f:1: unknown key a"),
        ("watches: {a: 1}", "f:1: watches.a: expected text, got a whole number"),
        ("watches:\n  a: b\n  2024: c", "f:1: a key of watches is no text; put it in quotes"),
        ("watches: {on: /x}", "a key of watches is no text; put it in quotes"),
        ("watches: []", "f:1: watches: expected keys and values or nothing, got a list"),
        ("exclude: '*.x'", "f:1: exclude: expected a list or nothing, got text"),
        ("host: a\nexclude:\n- b\n- 1", "f:2: exclude[1]: expected text, got a whole number"),
        ("skip_initial_hash: 'no'", "f:1: skip_initial_hash: expected true or false, got text"),
        ("rescan_interval: 0", "f:1: rescan_interval: expected a number > 0.0"),
        ("rescan_interval: .nan", "f:1: rescan_interval: expected a number > 0.0"),
        ("watcher:", "f:1: watcher: expected keys and values, got nothing"),
        ("host: a\nhost: b", "f:2: the key host is here a second time"),
        ("watches:\n  a: /x\n  a: /y", "f:3: the key watches.a is here a second time"),
        ("- a", "f: this is no list of keys and values"),
        ("", "f: this is no list of keys and values"),
        ("a: [", "f:1: expected the node content"),
        ("\thost: a", "f:1: found character '\\t' that cannot start any token"),
        ("\x00", "f: unacceptable character #x0000"),
        ("a: !!python/object/apply:os.getpid []", "f:1: could not determine a constructor"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse(text, "f")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
