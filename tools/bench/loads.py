"""Runs what puts load on a server, in a process of its own: it must not share its interpreter."""

import subprocess
import sys
from collections.abc import Sequence

from tools.bench.feeds import PROJECT
from tools.errors import OperatorError


def run_load(module: str, words: Sequence[str], work: str) -> str:
    """Run a module of this package and wait for its end.

    Args:
        module: its name in this package.
        words: its arguments.
        work: what is measured, for the error.

    Returns:
        What it printed.

    Raises:
        OperatorError: it failed.
    """
    done = subprocess.run(  # noqa: S603 - the command line is this package's
        [sys.executable, "-m", f"tools.bench.{module}", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    if done.returncode:
        raise OperatorError(f"{work}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
