"""A scan finds what the hints did not tell."""

import shutil
from pathlib import Path

from tests.watcher.rig import followed


def test_a_directory_made_anew_under_its_name_is_listed_itself(tmp_path: Path) -> None:
    """Not the one that was there before, of which a descriptor may still be open."""
    with followed(tmp_path) as rig:
        old = rig.path / "directory"
        old.mkdir()
        (old / "before").touch()
        rig.scan()
        before = rig.node("directory").number
        assert rig.tools.directories.fd(before) is not None
        shutil.rmtree(old)
        (rig.path / "spare").mkdir()  # or the new one might get the old one's inode
        old.mkdir()
        (old / "after").touch()
        rig.scan()
        assert rig.names() == {"directory", "directory/after", "spare"}
        assert rig.node("directory").number == before
