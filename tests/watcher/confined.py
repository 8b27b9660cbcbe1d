"""Programs that may do less than the tests."""

import subprocess
import sys
from pathlib import Path

import pytest


def in_user_namespace(settings: dict[str, int], program: str) -> str:
    """Run a program where some limits are others than on the machine; return what it prints."""
    sets = " && ".join(f"echo {v} > /proc/sys/user/{name}" for name, v in settings.items())
    command = ["unshare", "--user", "--map-root-user", "sh", "-ec", f'{sets} && exec "$@"', "sh"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no user namespaces here: {probe.stderr.strip()}")
    done = subprocess.run(
        [*command, sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


AS_NOBODY = """
import encodings.ascii, os
os.setgid(65534)
os.setuid(65534)
"""
"""What a program begins with that gives up the rights of root, once it has opened what it needs."""
