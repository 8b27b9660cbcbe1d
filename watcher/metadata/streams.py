"""Keeps the protocol of a worker away from what libraries print."""

import io
import os
import sys
from typing import NamedTuple


class Streams(NamedTuple):
    """Descriptors of what were standard input and output."""

    orders: int
    results: int


def take_standard_streams() -> Streams:
    """Put /dev/null in the place of the three standard streams, for whatever C code prints.

    Python's own `sys.stderr` goes on, so that a traceback reaches the operator.

    Returns:
        The former standard input and output, known only to the caller.
    """
    streams = Streams(os.dup(0), os.dup(1))
    sys.stderr = io.TextIOWrapper(io.FileIO(os.dup(2), "w"), write_through=True)
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return streams
