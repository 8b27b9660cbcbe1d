"""Users of the media library are made by the command, with a server and without one."""

import io
import json
from pathlib import Path

import pytest

from api.library.passwords import is_right
from projections.library_store import LibraryStore
from tests.serving import running, serving, wait_until
from tests.watcher.nas import Nas, started
from tools.cli import main


@pytest.fixture
def nas(tmp_path: Path) -> Nas:
    """A log that knows two roots; no server runs on it."""
    roots = {name: tmp_path / name for name in ("photos", "music")}
    for path in roots.values():
        path.mkdir()
    nas = Nas(tmp_path, roots)
    with started(nas):
        pass
    return nas


class Command:
    def __init__(self, nas: Nas, monkeypatch: pytest.MonkeyPatch) -> None:
        self.database = nas.config.database
        self.where = ("--db", self.database)
        self._monkeypatch = monkeypatch

    def __call__(self, *words: str, typed: str = "") -> int:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
        more = ["--password-stdin"] if typed else []
        return main(["library", *words, *more, *self.where])


@pytest.fixture
def command(nas: Nas, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(nas, monkeypatch)


def test_users_are_made_changed_listed_and_removed(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("user", "add", "Terry", "--write", "photos", typed="123") == 0
    assert command("user", "add", "Anna", typed="456") == 0
    capsys.readouterr()
    assert command("user", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["Terry", "Anna"]
    assert "photos rw " in lines[0]
    assert " no roots " in lines[1]
    assert command("user", "rights", "terry", "--read", "music") == 0
    assert "music r " in capsys.readouterr().out
    assert command("user", "remove", "TERRY") == 0
    command("user", "list")
    assert "Terry" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "password", "told"),
    [
        (("user", "add", "anna"), "456", "there is a user 'anna' already"),
        (("user", "add", "b", "--read", "videos"), "456", "there is no root 'videos'"),
        (("user", "add", "b"), "12", "at least 3 characters"),
        (("user", "add", " "), "456", "is no name"),
        (("user", "add", "b"), "", "use --password-stdin"),
        (("user", "passwd", "nobody"), "456", "there is no user 'nobody'"),
        (("user", "remove", "nobody"), "", "there is no user 'nobody'"),
        (("import", "/nowhere.json"), "", "No such file"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    command: Command, capsys: pytest.CaptureFixture[str], words: list[str], password: str, told: str
) -> None:
    assert command("user", "add", "Anna", "--read", "music", typed="456") == 0
    assert command(*words, typed=password) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_who_is_given_no_rights_is_told_how_to_get_some(
    nas: Nas, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("user", "add", "Anna", typed="456") == 0
    told = capsys.readouterr()
    assert "no roots" in told.out
    assert "may use no root yet (there are: music, photos)" in told.err
    assert "nasfeed library user rights Anna --write ROOT" in told.err
    for name, path, said in (
        ("Tim", nas.roots["photos"], "photos rw"),
        ("Tom", tmp_path, f"{tmp_path} is no root"),
    ):
        config = tmp_path / "server.yaml"
        config.write_text(
            f"database_url: {nas.config.database}\nwatches:\n  photos: {nas.roots['photos']}\n"
            f"library:\n  enabled: true\n  default_user_path: {path}\n"
        )
        command.where = ("--config", str(config))
        command("user", "add", name, typed="456")
        assert said in "".join(capsys.readouterr())


def test_a_running_server_gives_its_own_root_to_who_has_none(
    nas: Nas, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "server.yaml"
    config.write_text(
        f"port: 0\ndatabase_url: {nas.config.database}\n"
        f"watches:\n  photos: {nas.roots['photos']}\n  music: {nas.roots['music']}\n"
        f"library:\n  enabled: true\n  default_user_path: {nas.roots['music']}\n"
    )
    with running("--config", str(config)) as server:
        wait_until(lambda: bool(server.url), "it listens")
        assert command("user", "add", "Anna", typed="456") == 0
        assert "music rw " in capsys.readouterr().out


def test_a_running_server_does_it(
    nas: Nas, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(nas.roots, Path(nas.config.database)):
        assert command("user", "add", "Terry", "--read", "music", typed="123") == 0
        assert command("user", "passwd", "terry", typed="other") == 0
        assert command("user", "add", "terry", typed="123") == 1
        assert "there is a user 'terry' already" in capsys.readouterr().err
    with started(nas):
        store = LibraryStore(nas.system.log)
        with store.reading() as view:
            found = view.library.user_named("Terry")
        store.close()
    assert found is not None
    assert found[1].password.startswith("$argon2id$")
    assert is_right("other", found[1].password)
    assert not is_right("123", found[1].password)


def test_an_original_servers_users_are_taken_over(
    nas: Nas, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scanConfig.json"
    entries = [
        {
            "paths": [str(nas.roots["photos"])],
            "users": [{"name": "terry", "password": "123"}, {"name": "anna", "password": "333"}],
            "mergeRootPaths": True,
        },
        {"paths": [f"{nas.roots['music']}/"], "users": [{"name": "Anna"}], "merge": 0},
    ]
    file.write_text(json.dumps(entries))
    for _ in range(2):
        assert command("import", str(file)) == 0
        assert capsys.readouterr().out.count("\n") == 2
    command("user", "list")
    terry, anna = capsys.readouterr().out.splitlines()
    assert "photos rw " in terry
    assert "music" not in terry
    assert "photos rw, music rw" in anna


def test_an_import_leaves_other_rights_as_they_are(
    nas: Nas, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("user", "add", "terry", "--read", "photos", typed="456") == 0
    file = tmp_path / "scanConfig.json"
    file.write_text(
        json.dumps([{"paths": [str(nas.roots["music"])], "users": [{"name": "terry"}]}])
    )
    capsys.readouterr()
    assert command("import", str(file)) == 0
    assert "photos r, music rw" in capsys.readouterr().out


def test_an_import_that_cannot_be_does_nothing(
    nas: Nas, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scanConfig.json"
    user = {"name": "a", "password": "123"}
    below = str(nas.roots["photos"] / "2026")
    for entries, told in (
        ([{"paths": ["/nowhere"], "users": [user]}], "/nowhere is no root of this server"),
        ([{"paths": [below], "users": [user]}], f"{below} lies in the root 'photos', and rights"),
        ([{"users": [user, {"name": "b"}]}], "user 'b' has no password"),
        ({"paths": []}, "this is no scan configuration"),
    ):
        file.write_text(json.dumps(entries))
        assert command("import", str(file)) == 1
        assert told in capsys.readouterr().err
    command("user", "list")
    assert capsys.readouterr().out == ""
