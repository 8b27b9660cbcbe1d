import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from watcher.metadata.mime import MimeTypes
from watcher.metadata.pool import ProbePool
from watcher.metadata.task import Outcome, Task

_PROJECT = Path(__file__).parents[3]


def _some_files() -> list[Path]:
    """Take programs, libraries, documents and pictures of this machine: several hundred."""
    found: list[Path] = []
    for top in ("/usr/bin", "/usr/lib", "/usr/share"):
        for directory, names, files in os.walk(top):
            names.sort()
            found += [Path(directory, name) for name in sorted(files)[:3]]
            if len(found) % 200 > 195:
                break
    regular = [path for path in found if path.is_file() and not path.is_symlink()]
    return regular[:: max(1, len(regular) // 400)]


def test_types_are_those_of_the_file_command(
    make_pool: Callable[..., ProbePool],
    task_of: Callable[..., Task],
    run_all: Callable[..., dict[int, Outcome]],
) -> None:
    files = _some_files()
    assert len(files) > 100
    said = subprocess.run(
        ["file", "-b", "--mime-type", "--", *files], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    tasks = [task_of(path, number, want_hash=False) for number, path in enumerate(files)]
    outcomes = run_all(make_pool(2), tasks)
    assert [outcomes[number].mime for number in range(len(files))] == said


def test_a_program_is_told_from_a_library(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(Path(sys.executable).read_bytes())
    path.chmod(0o755)
    said = subprocess.run(["file", "-b", "--mime-type", path], check=True, capture_output=True)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert MimeTypes().of(fd) == said.stdout.decode().strip()
        assert os.lseek(fd, 0, os.SEEK_CUR) == 0
    finally:
        os.close(fd)


_WITHOUT_SYSTEM_LIBRARY = """
set -e
for library in /lib/*/libmagic.so.1* /usr/lib/*/libmagic.so.1* /usr/lib/libmagic.so.1*; do
    if [ -f "$library" ]; then mount --bind /dev/null "$(readlink -f "$library")"; fi
done
"$0" -c '
import os, magic.loader
' 2>/dev/null && exit 3
exec "$0" -c '
import os, sys
from watcher.metadata.mime import MimeTypes
print(MimeTypes().of(os.open(sys.argv[1], os.O_RDONLY)))
' "$1"
"""


@pytest.mark.privileged
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide the system's library")
def test_without_the_systems_libmagic_the_packaged_one_is_used() -> None:
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", _WITHOUT_SYSTEM_LIBRARY, sys.executable, "/etc/passwd"],
        cwd=_PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "text/plain\n"), run.stderr
