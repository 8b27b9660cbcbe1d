"""A worker process: reads works from its standard input, writes outcomes to its standard output.

Run by the pool as `python -m watcher.metadata.worker`; of no use by hand. It ends when its input
does, when its parent dies, when it has had nothing to do for long, or when it has become fat.
"""

import gc
import os
import select
import sys
from collections.abc import Iterator
from time import monotonic

from watcher.metadata.arguments import Arguments
from watcher.metadata.blackbox import BlackBox
from watcher.metadata.confine import address_space_bytes, confine, give_memory_back
from watcher.metadata.mime import MimeTypes, NoLibraryError
from watcher.metadata.probe import Prober
from watcher.metadata.streams import Streams, take_standard_streams
from watcher.metadata.task import Limits, Outcome
from watcher.metadata.wire import Work, decode_works, encode_outcomes, frame, take_frames

_READ_BYTES = 1 << 16
_HELD_BACK_SECONDS = 0.05
"""An outcome is not kept longer than this (and the next file) before it is sent."""
_REST_SECONDS = 1.0
"""After this long without work there is time to tidy up."""


class Worker:
    """Does what it is sent until nothing more comes.

    Args:
        streams: where works come from and outcomes go to.
        prober: describes one file.
        idle_seconds: after how long without work it ends; 0: never.
        fat_bytes: address space from which on it makes room for a slim successor. What it holds
            then was leaked by libraries, and would be held against an innocent file.
    """

    def __init__(
        self, streams: Streams, prober: Prober, idle_seconds: float, fat_bytes: int
    ) -> None:
        self._streams = streams
        self._prober = prober
        self._idle_seconds = idle_seconds
        self._fat_bytes = fat_bytes
        self._done: list[Outcome] = []
        self._sent_at = 0.0

    def run(self) -> None:
        """Work until the input ends.

        Raises:
            OSError: the pool cannot be reached.
            ValueError: it sends no frames.
        """
        self._send()  # says: ready
        for works in self._orders():
            self._sent_at = monotonic()
            for work in works:
                self._done.append(self._prober.probe(work))
                if monotonic() - self._sent_at > _HELD_BACK_SECONDS:
                    self._send()
            self._send()
            if address_space_bytes() > self._fat_bytes:
                return

    def _orders(self) -> Iterator[list[Work]]:
        received = bytearray()
        while self._is_fed() and (part := os.read(self._streams.orders, _READ_BYTES)):
            received += part
            for body in take_frames(received):
                yield decode_works(body)

    def _is_fed(self) -> bool:
        """Wait for input: soon give memory back, and after long give up."""
        if self._has_input(_REST_SECONDS):
            return True
        gc.collect()
        give_memory_back()
        return self._has_input(self._idle_seconds or None)

    def _has_input(self, timeout_seconds: float | None) -> bool:
        return bool(select.select([self._streams.orders], [], [], timeout_seconds)[0])

    def _send(self) -> None:
        remaining = memoryview(frame(encode_outcomes(self._done)))
        while remaining:
            remaining = remaining[os.write(self._streams.results, remaining) :]
        self._done.clear()
        self._sent_at = monotonic()


def main(words: list[str]) -> None:
    """Run a worker.

    Args:
        words: the command line, without the program.
    """
    arguments = Arguments.parse(words)
    streams = take_standard_streams()
    try:
        types = MimeTypes()
    except NoLibraryError as error:
        sys.exit(str(error))
    confine(arguments.parent, arguments.memory_bytes)
    limits = Limits(arguments.parse_seconds, arguments.memory_bytes, arguments.bytes_per_second)
    fat_bytes = address_space_bytes() + limits.memory_bytes // 2
    prober = Prober(BlackBox(arguments.box), types, limits)
    gc.freeze()
    Worker(streams, prober, arguments.idle_seconds, fat_bytes).run()


if __name__ == "__main__":
    main(sys.argv[1:])
