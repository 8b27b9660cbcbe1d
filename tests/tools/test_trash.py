"""The trash of a real server, by the command; and the library of a real server at all."""

import json
from operator import itemgetter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.api.library.family import Person
from tests.serving import running, wait_until
from tests.tools.test_library import Command
from tests.watcher.nas import Nas, started
from tools.cli import main

PASSWORD = "correct horse"  # noqa: S105 - of nobody


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of a server whose library has a user."""
    photos, database = tmp_path / "photos", tmp_path / "state" / "log.db"
    photos.mkdir()
    for name in "abc":
        Image.new("RGB", (300, 300), "red").save(photos / f"{name}.jpg")
    nas = Nas(tmp_path, {"photos": photos})
    with started(nas):
        pass
    add = ("user", "add", "Terry", "--write", "photos")
    assert Command(nas, monkeypatch)(*add, typed=PASSWORD) == 0
    config = tmp_path / "server.yaml"
    config.write_text(
        f"host: 127.0.0.1\nport: 0\ndatabase_url: {database}\nwatches:\n  photos: {photos}\n"
        "library:\n  enabled: true\n"
    )
    return config


def test_what_a_user_deletes_is_listed_restored_and_removed(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, database = tmp_path / "photos", tmp_path / "state" / "log.db"
    with running("--config", str(config)) as server:
        wait_until(lambda: bool(server.url), "it listens")
        terry = Person(urlsplit(server.url).port or 0)
        wait_until(lambda: terry.log_in("terry").status == 200, "it answers")
        files = sorted(terry.get("files", pageIndex=0).data["list"], key=itemgetter("name"))
        assert [each["name"] for each in files] == ["a.jpg", "b.jpg", "c.jpg"]
        assert terry.get("thumbnail", id=files[0]["id"]).status == 200
        assert terry.post("deleteFiles", ids=f"{files[0]['id']},{files[1]['id']}").code == 0
        capsys.readouterr()

        assert main(["trash", "list", "--json", "--db", str(database)]) == 0
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert (first["path"], first["user"]) == ("photos/a.jpg", "Terry")
        assert main(["trash", "list", "--db", str(database)]) == 0
        assert "photos/b.jpg" in capsys.readouterr().out
        number = str(first["number"])
        assert main(["trash", "restore", number, "--db", str(database)]) == 0
        assert capsys.readouterr().out == "photos/a.jpg\n"
        assert (photos / "a.jpg").exists()
        assert main(["trash", "restore", number, "--db", str(database)]) == 1
        assert f"there is no {number} in the trash" in capsys.readouterr().err
        assert main(["trash", "empty", "--db", str(database)]) == 0
        assert capsys.readouterr().out == f"{second['path']}\n"
        assert list((photos / ".nasfeed" / "trash").iterdir()) == []
        assert main(["trash", "list", "--db", str(database)]) == 0
        assert capsys.readouterr().out == ""
        server.stop()
    assert "rror" not in server.said
    assert main(["check", "--config", str(config)]) == 0
    assert main(["replay", "--check", "--config", str(config)]) == 0
    assert main(["trash", "list", "--db", str(database)]) == 1
    assert "no server runs on this database" in capsys.readouterr().err
