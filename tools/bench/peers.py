"""Finds the peers, or says how to install them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools.bench.feeds import Program, wcpan

PEERS = Path(sys.prefix) / "bench-peers"
"""Inside our own environment: ignored by git and deleted with it."""

WCPAN = "wcpan-drive-feed[inotify]==1.6.0"
_EXECUTABLE = PEERS / "bin" / "wcpan.drive.feed"


def find(name: str, say: Callable[[str], None]) -> str | None:
    """Return where a program of Debian is, or say how to get it."""
    found = shutil.which(name)
    if found is None:
        say(f"{name} is missing, its rows have no peer: apt-get install {name}")
    return found


def find_wcpan(python: str, say: Callable[[str], None]) -> Program | None:
    """Return the peer of the feed protocol, installed when it was not yet, or say how to get it.

    Args:
        python: the interpreter for it; it needs 3.13.
        say: told what is wrong.
    """
    if not _EXECUTABLE.exists() and not _install(python, say):
        return None
    return wcpan(_EXECUTABLE)


def _install(python: str, say: Callable[[str], None]) -> bool:
    if shutil.which(python) is None:
        say(f"wcpan is missing, its rows have no peer: it needs {python}; give --peer-python")
        return False
    say(f"installing {WCPAN} in {PEERS}")
    pip = [str(PEERS / "bin" / "python"), "-m", "pip", "install", "--quiet", WCPAN]
    try:
        for words in ([python, "-m", "venv", "--clear", str(PEERS)], pip):
            subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
    except subprocess.CalledProcessError as error:
        say(f"wcpan is missing, its rows have no peer: {error.stderr.strip().splitlines()[-1]}")
        return False
    return True
