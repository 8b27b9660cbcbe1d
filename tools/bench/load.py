"""Asks for the cursor as fast as a server answers, on eight connections at once.

`wrk` does it where it is installed. Otherwise it is `python -m tools.bench.load PORT SECONDS` in a
process of its own, which prints the answers a second; it is the bottleneck for a fast server.
"""

import asyncio
import re
import subprocess
import sys
from functools import partial

from tools.bench.feeds import CURSOR
from tools.errors import OperatorError

CONNECTIONS = 8

_RATE = re.compile(r"^Requests/sec: +([\d.]+)", re.MULTILINE)
_FAILED = re.compile(r"^ *(Non-2xx .*|Socket errors.*)", re.MULTILINE)


def answers_per_second(wrk: str | None, port: int, seconds: int) -> float:
    """Return how many answers a second a server gives.

    Args:
        wrk: the executable, or None when there is none.
        port: of the server.
        seconds: for which it is asked.

    Raises:
        OperatorError: it gave errors.
    """
    if wrk is None:
        return float(_output([sys.executable, "-m", "tools.bench.load", str(port), str(seconds)]))
    url = f"http://127.0.0.1:{port}{CURSOR}"
    text = _output([wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url])
    failed, rate = _FAILED.search(text), _RATE.search(text)
    if failed or not rate:
        raise OperatorError(f"{url}: wrk says: {failed[1] if failed else text}")
    return float(rate[1])


def _output(words: list[str]) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout  # noqa: S603


class _Asker(asyncio.Protocol):
    """Asks again as soon as it was answered. An answer is one segment: it is tiny."""

    def __init__(self, port: int) -> None:
        self._request = f"GET {CURSOR} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._transport: asyncio.WriteTransport | None = None
        self.answers = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not data.startswith(b"HTTP/1.1 200") or self._transport is None:
            raise OperatorError(f"the cursor was refused: {data[:100]!r}")
        self.answers += 1
        self._transport.write(self._request)


def _same(asker: _Asker) -> _Asker:
    return asker


async def _ask(port: int, duration_seconds: float) -> float:
    loop = asyncio.get_running_loop()
    askers = [_Asker(port) for _ in range(CONNECTIONS)]
    for asker in askers:
        await loop.create_connection(partial(_same, asker), "127.0.0.1", port)
    await asyncio.sleep(duration_seconds)
    return sum(asker.answers for asker in askers) / duration_seconds


if __name__ == "__main__":
    print(asyncio.run(_ask(int(sys.argv[1]), float(sys.argv[2]))))
