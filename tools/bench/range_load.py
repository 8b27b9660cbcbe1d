"""Reads ranges of a file over HTTP as fast as they come.

It is `python -m tools.bench.range_load PORT TARGET COOKIE LENGTH SIZE CLIENTS SECONDS`, which
prints bytes a second, and bytes, as JSON: LENGTH is that of the file, SIZE that of each range.
"""

import contextlib
import json
import sys
import threading
from typing import Final, NamedTuple

from tools.bench.process import CLOCK
from tools.bench.spock_load import Line, request
from tools.errors import OperatorError

_STRIDE: Final = 7
"""How far the clients are apart at the begin, in ranges: they do not ask for the same."""


class Load(NamedTuple):
    """What is asked for.

    Attributes:
        port: of the server on this machine.
        target: of the requests.
        cookie: of a session; "" for none.
        length: of the file, bytes.
        size: of each range, bytes.
    """

    port: int
    target: str
    cookie: str
    length: int
    size: int

    def request(self, number: int) -> bytes:
        """Return a request for the nth range, round and round."""
        start = number * self.size % self.length
        cookie = f"Cookie: {self.cookie}\r\n" if self.cookie else ""
        stop = min(start + self.size, self.length)
        return request("GET", self.target, f"Range: bytes={start}-{stop - 1}\r\n{cookie}")


def run(load: Load, clients: int, duration_seconds: float) -> tuple[float, int]:
    """Return the bytes that come in a second, and all that came.

    Args:
        load: what is asked for.
        clients: at once.
        duration_seconds: for how long; what was begun is ended.

    Raises:
        OperatorError: the server refused.
    """
    counts, errors = [0] * clients, list[Exception]()
    begun = CLOCK.monotonic()

    def work(client: int) -> None:
        try:
            with contextlib.closing(Line(load.port)) as line:
                while CLOCK.monotonic() < begun + duration_seconds:
                    line.ask(load.request(client * _STRIDE + counts[client]))
                    counts[client] += 1
        except (OSError, OperatorError) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise OperatorError(str(errors[0]))
    count = sum(counts) * load.size
    return count / (CLOCK.monotonic() - begun), count


def main(words: list[str]) -> None:
    """Measure and print."""
    port, target, cookie, length, size, clients, seconds = words
    load = Load(int(port), target, cookie, int(length), int(size))
    print(json.dumps(run(load, int(clients), float(seconds))))


if __name__ == "__main__":
    main(sys.argv[1:])
