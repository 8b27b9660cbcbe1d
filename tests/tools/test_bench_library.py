"""The benchmarks of the media library do what they count; nothing here measures time."""

import json
from pathlib import Path

import pytest
from PIL import Image

from tools.bench import library_log, listing, range_load, ranging, thumb_load, thumbing
from tools.bench.bench import Bench
from tools.bench.library_client import serving
from tools.bench.row import Row
from tools.bench.tree import Tree
from tools.errors import OperatorError


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    tree = Tree(tmp_path, 0, 0)
    return Bench(tree, tree, tmp_path, None, None, None, 1, 1, 0, print, library_files=2_400)


@pytest.mark.slow
def test_every_page_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", 10)
    rows = list(listing.rows(bench))
    assert [row.unit for row in rows] == ["ms"] * 6 + ["MiB"] * 2
    assert min(row.ours.values[0] for row in rows) > 0
    assert rows[0].note.startswith("88 pages")  # eight choices in eleven orders
    assert "sort=" in rows[5].note


@pytest.mark.slow
def test_ranges_are_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranging, "LENGTH", ranging.MIB)
    monkeypatch.setattr(ranging, "MEASURES", (ranging.Measure(2**16, 2, 1),))
    rate, worth = ranging.rows(bench._replace(load_seconds=1))
    assert rate.ours.values[0] > 0
    assert worth.ours.values[0] > 0


def test_ranges_go_round_in_the_file() -> None:
    load = range_load.Load(1, "/a", "key=1", length=25, size=10)
    lines = [load.request(number).decode() for number in (0, 1, 3, 10)]
    assert all("GET /a HTTP/1.1\r\n" in line and "Cookie: key=1\r\n" in line for line in lines)
    spans = [line.partition("bytes=")[2].partition("\r")[0] for line in lines]
    assert spans == ["0-9", "10-19", "5-14", "0-9"]
    last = range_load.Load(1, "/a", "", length=25, size=10).request(2).decode()
    assert "bytes=20-24\r\n" in last
    assert "Cookie" not in last


def test_what_is_refused_is_no_answer(bench: Bench) -> None:
    (bench.scratch / "files").mkdir()
    library_log.begin(str(bench.scratch / "feed.db"), ()).close()
    with serving(bench.scratch, {"files": str(bench.scratch / "files")}) as feed:
        load = range_load.Load(feed.port, "/downFile.icc?id=1", "", 10, 10)
        with pytest.raises(OperatorError, match="403"):
            range_load.run(load, 1, 60)


@pytest.mark.slow
def test_both_make_thumbnails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures = thumb_load.make_pictures
    monkeypatch.setattr(
        thumb_load, "make_pictures", lambda directory: make_pictures(directory, (1600, 1200))
    )
    rows = list(thumbing.rows(bench))
    assert len(rows) == 3
    assert all(_is_measured(row) for row in rows)


def _is_measured(row: Row) -> bool:
    return row.theirs is not None and row.ours.values[0] > 0 and row.theirs.values[0] > 0


def test_pictures_are_turned_in_exif_only(tmp_path: Path) -> None:
    thumb_load.make_pictures(tmp_path, (80, 60))
    turned = []
    for path in sorted(tmp_path.iterdir()):
        with Image.open(path) as image:
            assert image.size == (80, 60)
            turned.append(image.getexif()[0x0112])
    assert turned == [1, 6, 3, 8]


def test_a_picture_without_thumbnail_stops_the_benchmark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thumb_load.make_pictures(tmp_path, (80, 60))
    for who in ("workers", "pillow"):
        thumb_load.main([who, str(tmp_path), "20,10", "0", "0"])
        count, seconds = json.loads(capsys.readouterr().out)
        assert count == 4
        assert seconds >= 0
    (tmp_path / "0.jpg").write_bytes(b"broken")
    with pytest.raises(OperatorError, match="no thumbnail was made"):
        thumb_load.main(["workers", str(tmp_path), "20,10", "0", "0"])
