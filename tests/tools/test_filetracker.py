"""Old versions are collected, checked, and an original server's files taken over."""

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from api.beneath.root import Beneath
from api.beneath.staging import Staging
from api.filetracker import upkeep
from api.filetracker.digests import Digests
from api.filetracker.keep import Keeper, blob_of, directory_of
from tools.cli import main

VERSION = 1_700_000_000
US = 10**6
LATER_US = 4_000_000_000 * US


class Kept:
    """A directory with old versions in it, as a store leaves it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.beneath = Beneath(lambda: os.open(path, os.O_PATH | os.O_DIRECTORY))
        self.digests = Digests()
        self.keeper = Keeper(self.beneath, Staging(self.beneath), self.digests, None)

    def keep(self, name: str, data: bytes, kept_us: int = VERSION * US) -> Path:
        """Have a content kept as a version of a path; returns where it is."""
        (self.path / name).write_bytes(data)
        path = name.encode()
        self.keeper.prepare(path)
        self.keeper.keep(path, self.beneath.stat(path), VERSION, kept_us)
        (self.path / name).unlink()
        return self.path / os.fsdecode(blob_of(hashlib.sha256(data).hexdigest()))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "store")


def run(*words: str | Path) -> int:
    return main(["filetracker", *map(str, words)])


def test_a_sound_store_has_no_problems(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.keep("a", b"one")
    kept.keep("b", b"two")
    assert run("fsck", kept.path) == 0
    assert capsys.readouterr().out == "2 versions checked, 0 problems\n"


def test_fsck_finds_contents_that_changed_or_are_missing(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, missing, cut = (kept.keep(name, name.encode() * 9) for name in ("a", "b", "c"))
    changed.write_bytes(b"x" * 9)
    missing.unlink()
    cut.write_bytes(b"c")
    assert run("fsck", kept.path) == 1
    out = capsys.readouterr().out
    assert f"content {changed.name}: its bytes have changed" in out
    assert f"'b', version {VERSION}: its content is missing" in out
    assert f"'c', version {VERSION}: its content has another size" in out


def test_gc_removes_old_versions(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    kept.keep("a", b"one", kept_us=0)
    kept.keep("a", b"two", kept_us=LATER_US)
    assert run("gc", "--keep-days", "30", kept.path) == 0
    assert [each.kept_us for each in kept.keeper.versions(b"a")] == [LATER_US]
    assert capsys.readouterr().out.startswith("1 versions and 0 contents")


def test_gc_removes_what_is_left_of_paths_that_have_no_version_any_more(kept: Kept) -> None:
    kept.keep("a", b"one", kept_us=0)
    kept.keep("b", b"two", kept_us=LATER_US)
    assert run("gc", "--keep-days", "30", kept.path) == 0
    assert sorted((kept.path / ".nasfeed/versions/paths").glob("*/*")) == [
        kept.path / os.fsdecode(directory_of(b"b"))
    ]
    kept.keep("a", b"three", kept_us=LATER_US)
    assert [each.size for each in kept.keeper.versions(b"a")] == [5]


def test_gc_leaves_contents_that_were_used_just_now(kept: Kept) -> None:
    blob = kept.keep("a", b"one", kept_us=0)
    run("gc", "--keep-days", "1", kept.path)
    assert blob.exists()


@pytest.mark.parametrize("words", [("gc", "none"), ("fsck", "none"), ("import", "x", ".")])
def test_what_is_no_store_is_said_in_one_line(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 1
    assert capsys.readouterr().err.count("\n") == 1


class Original:
    """The directory of an original server."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "links").mkdir(parents=True)
        (path / "blobs").mkdir()

    def store(self, name: str, data: bytes, version: int = VERSION) -> Path:
        digest = hashlib.sha256(data).hexdigest()
        blob = self.path / "blobs" / digest[:2] / digest
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(gzip.compress(data))
        link = self.path / "links" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
        os.utime(link, (version, version), follow_symlinks=False)
        return blob


@pytest.fixture
def original(tmp_path: Path) -> Original:
    return Original(tmp_path / "original")


def test_an_original_store_is_taken_over_with_its_versions(
    kept: Kept, original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    original.store("a", b"same")
    original.store("d/e/żółć", b"same", VERSION + 5)
    assert run("import", original.path, kept.path) == 0
    found = kept.path / "d/e/żółć"
    assert (found.read_bytes(), found.stat().st_mtime) == (b"same", VERSION + 5)
    assert (kept.path / "a").read_bytes() == b"same"
    assert capsys.readouterr().out == (
        "2 files taken, 0 were there already, 0 could not be taken\n"
    )


def test_names_are_taken_over_as_clients_know_them(kept: Kept, original: Original) -> None:
    as_wsgi_has_it = "żółć/é".encode().decode("latin-1")
    original.store(as_wsgi_has_it, b"of Python 3")
    original.store("plain/é", b"of Python 2")
    assert run("import", original.path, kept.path) == 0
    assert (kept.path / "żółć/é").read_bytes() == b"of Python 3"
    assert (kept.path / "plain/é").read_bytes() == b"of Python 2"


def test_taking_over_again_takes_only_what_is_newer(kept: Kept, original: Original) -> None:
    original.store("a", b"old")
    original.store("b", b"old")
    run("import", original.path, kept.path)
    (kept.path / "a").write_bytes(b"newer")
    (original.path / "links/b").unlink()
    original.store("b", b"new", VERSION + 1)
    run("import", original.path, kept.path)
    assert (kept.path / "a").read_bytes() == b"newer"
    assert (kept.path / "b").read_bytes() == b"new"


def test_a_poisoned_content_is_not_taken_and_the_others_are(
    kept: Kept, original: Original, capsys: pytest.CaptureFixture[str]
) -> None:
    original.store("bad", b"data").write_bytes(gzip.compress(b"something else"))
    original.store("cut", b"data" * 999).write_bytes(b"\x1f\x8b\x08")
    original.store("good", b"good")
    assert run("import", original.path, kept.path) == 1
    assert sorted(p.name for p in kept.path.iterdir()) == [".nasfeed", "good"]
    out = capsys.readouterr().out
    assert "bad: not taken: the file is not the one of SHA256-Checksum" in out
    assert "cut: not taken: the gzip stream is cut short" in out


@pytest.mark.parametrize("days", ["x", "-1", "nan"])
def test_days_that_are_none_are_refused(days: str) -> None:
    with pytest.raises(SystemExit):
        run("gc", "--keep-days", days, ".")


def test_contents_that_no_version_has_are_removed_when_they_rested_for_long(kept: Kept) -> None:
    gone, stays = kept.keep("a", b"gone", kept_us=0), kept.keep("b", b"stays", kept_us=LATER_US)
    done = upkeep.collect(kept.beneath, kept.keeper, LATER_US, keep_days=1)
    assert (done.versions, done.contents, done.size) == (1, 1, 4)
    assert (gone.exists(), stays.exists()) == (False, True)


def test_a_content_is_collected_only_with_its_last_version(kept: Kept) -> None:
    blob = kept.keep("a", b"same", kept_us=0)
    kept.keep("b", b"same", kept_us=LATER_US)
    upkeep.collect(kept.beneath, kept.keeper, LATER_US, keep_days=1)
    assert blob.exists()
    upkeep.collect(kept.beneath, kept.keeper, 2 * LATER_US, keep_days=1)
    assert not blob.exists()
