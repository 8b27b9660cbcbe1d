"""Facts about the machine and the programs, without which figures say nothing."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from tools.bench.bench import Bench
from tools.bench.peers import WCPAN


def facts(bench: Bench) -> dict[str, str]:
    """Return what the figures depend on."""
    found = {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "filesystem": _filesystem(bench.scratch),
        "python": platform.python_version(),
        "nasfeed": metadata.version("nasfeed"),
        "tree": f"{bench.tree.path}: {bench.tree.entries:,} entries, {bench.tree.files:,} files",
        "small tree": f"{bench.small.entries:,} entries, {bench.small.files:,} files",
    }
    if bench.watchman:
        found["watchman"] = _output([bench.watchman, "--version"])
    if bench.wcpan:
        found["wcpan"] = WCPAN
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(path: Path) -> str:
    return _output(["stat", "--file-system", "--format=%T", str(path)])


def _output(words: list[str]) -> str:
    done = subprocess.run(words, check=True, capture_output=True, text=True)  # noqa: S603
    return done.stdout.strip()
