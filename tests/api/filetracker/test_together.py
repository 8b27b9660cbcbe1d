"""Small uploads that come at the same time are stored in groups, and each as if it were alone."""

import gzip
import hashlib
import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.beneath.syncing import SYNCER
from api.files.refusal import Refusal
from api.filetracker.intake import Claims
from api.filetracker.store import Change, Store
from api.filetracker.together import BODY_MAX, AloneError, Together, Upload, fits
from eventlog.clock import SystemClock
from eventlog.events import Created
from tests.api.filetracker.tracking import NOON
from tests.watcher.nas import Nas, running
from tools.faces import FaceRoot
from watcher.excludes import Excludes


class Storing:
    """A store on a root that is really observed."""

    def __init__(self, nas: Nas, executor: ThreadPoolExecutor) -> None:
        self.nas = nas
        self.path = nas.roots["files"]
        self.root = FaceRoot(nas.system.observers[0], Excludes(nas.config.exclude), ())
        self.store = Store(self.root, SystemClock())
        self.together = Together(self.store, executor, 10_000)

    def put(self, *uploads: Upload) -> list[object]:
        """Store uploads as a group; a refusal is given by its status."""
        found = self.together.put_all(uploads)
        return [each.status if isinstance(each, Refusal) else each for each in found]

    def made(self, head: int) -> list[tuple[str, bytes]]:
        """Return author and name of what was made since a position, in order."""
        events = self.nas.events(head)
        return [(e.author, e.state.name) for e in events if isinstance(e, Created)]

    def staged(self) -> list[Path]:
        return list((self.path / ".nasfeed" / "staging").iterdir())


@pytest.fixture
def storing(tmp_path: Path) -> Iterator[Storing]:
    with running(tmp_path, "files") as nas, ThreadPoolExecutor(1) as executor:
        yield Storing(nas, executor)


def upload(
    path: str,
    body: bytes = b"data",
    version: int = NOON,
    author: str = "alice",
    claims: Claims | None = None,
) -> Upload:
    return Upload(Change(path.encode(), version, author, {}), claims or Claims(), body)


def gzipped(path: str, content: bytes, **claimed: object) -> Upload:
    digest = hashlib.sha256(content).hexdigest()
    claims = Claims(is_gzip=True, digest=digest, size=len(content))._replace(**claimed)  # type: ignore[arg-type]
    return upload(path, gzip.compress(content), claims=claims)


def test_all_of_a_group_is_on_the_disk_and_in_the_log_afterwards(storing: Storing) -> None:
    head = storing.nas.head
    uploads = [gzipped(f"d{number % 2}/{number}", b"%d" % number) for number in range(6)]
    assert storing.put(*uploads) == [NOON] * 6
    assert [int((storing.path / f"d{n % 2}/{n}").read_bytes()) for n in range(6)] == [*range(6)]
    names = [*(b"d0", b"d1"), *(b"%d" % number for number in range(6))]
    assert sorted(storing.made(head)) == sorted(("alice", name) for name in names)
    assert storing.staged() == []


def test_what_cannot_be_stored_keeps_nothing_of_the_others_back(storing: Storing) -> None:
    (storing.path / "file").touch()
    found = storing.put(
        upload("good"),
        gzipped("lie", b"content", digest="0" * 64),
        gzipped("long", b"content", size=3),
        upload("file/below"),
        upload("also"),
        upload("large", bytes(10_001)),
    )
    assert found == [NOON, 422, 422, 409, NOON, 413]
    assert sorted(path.name for path in storing.path.iterdir() if path.name != ".nasfeed") == [
        "also",
        "file",
        "good",
    ]
    assert storing.staged() == []


def test_each_is_decided_by_its_version_and_what_it_replaces_is_kept(storing: Storing) -> None:
    assert storing.put(upload("a", b"1"), upload("b", b"1")) == [NOON] * 2
    found = storing.put(upload("a", b"0", NOON - 1), upload("b", b"2", NOON + 1))
    assert found == [NOON, NOON + 1]
    assert ((storing.path / "a").read_bytes(), (storing.path / "b").read_bytes()) == (b"1", b"2")
    assert [kept.version for kept in storing.store.keeper.versions(b"b")] == [NOON]
    assert storing.store.keeper.versions(b"a") == []


def test_what_must_be_read_first_holds_nobody_up(storing: Storing) -> None:
    (storing.path / "other").write_bytes(b"by somebody else")
    alone, stored = storing.together.put_all([upload("other"), upload("mine")])
    assert isinstance(alone, AloneError)
    assert stored == NOON
    assert (storing.path / "other").read_bytes() == b"by somebody else"
    assert storing.staged() == []


def test_what_is_not_on_the_disk_gets_no_place(
    storing: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = SYNCER.sync

    def failing(fds: list[int]) -> list[OSError | None]:
        found = sync(fds)
        return [OSError(28, "full"), *found[1:]] if len(fds) == 3 else found

    monkeypatch.setattr(SYNCER, "sync", failing)
    assert storing.put(upload("a"), upload("b"), upload("c")) == [507, NOON, NOON]
    assert not (storing.path / "a").exists()
    assert (storing.path / "b").exists()


def test_names_that_are_not_on_the_disk_are_an_error_of_all(
    storing: Storing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (storing.path / "d").mkdir()
    sync = SYNCER.sync

    def failing(fds: list[int]) -> list[OSError | None]:
        are_directories = stat.S_ISDIR(os.fstat(fds[0]).st_mode)
        return [None, OSError(28, "full")] if are_directories else sync(fds)

    monkeypatch.setattr(SYNCER, "sync", failing)
    uploads = upload("a"), gzipped("lie", b"", size=3), upload("d/b")
    assert storing.put(*uploads) == [507, 422, 507]


def test_a_group_when_the_root_is_not_observed_is_told_so(storing: Storing) -> None:
    storing.nas.stop()
    assert storing.put(upload("a"), upload("b")) == [503, 503]


@pytest.mark.parametrize(
    ("other", "may"),
    [
        (upload("b"), True),
        (upload("ab"), True),
        (upload("a/b"), False),
        (upload("a"), False),
        (upload("b", author="bob"), False),
    ],
)
def test_only_what_does_not_touch_the_same_is_stored_together(other: Upload, *, may: bool) -> None:
    assert fits([upload("x"), upload("a")], other) is may
    assert fits([other], upload("a")) is may


@pytest.mark.parametrize(
    ("body", "claims", "is_small"),
    [
        (bytes(BODY_MAX), Claims(), True),
        (bytes(BODY_MAX + 1), Claims(), False),
        (b"zipped", Claims(is_gzip=True, size=2**20), True),
        (b"zipped", Claims(is_gzip=True, size=2**20 + 1), False),
        (b"zipped", Claims(is_gzip=True), False),
    ],
)
def test_only_what_is_quickly_written_is_stored_together(
    body: bytes, claims: Claims, *, is_small: bool
) -> None:
    assert upload("a", body, claims=claims).is_small is is_small
