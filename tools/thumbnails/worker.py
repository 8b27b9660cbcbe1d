"""A worker process: gets open files over its standard input, a Unix socket, and answers there.

Run as `python -m tools.thumbnails.worker PARENT SECONDS`; of no use by hand. It says that it is
ready. A request is a line of JSON with one descriptor; an answer is eight bytes of length and then
MessagePack. It ends when its input does, when its parent dies, and by SIGPROF when a file takes
more seconds of processor time than it may. Those are counted, because time on the clock says
nothing about a file: the machine may be busy, or a disk may have to spin up.
"""

import array
import io
import resource
import signal
import socket
import sys
from typing import Any, BinaryIO

import msgspec

from tools.thumbnails.facts import read_facts
from tools.thumbnails.render import UnrenderableError, render
from tools.thumbnails.wire import READY, Order, Result
from watcher.metadata.confine import confine

MEMORY_BYTES = 768 * 2**20
"""Address space beyond what it begins with: 64 million pixels and what decoding takes."""

FILES_MAX = 64
REQUEST_BYTES = 4_096


class Raw(io.FileIO):
    """An open file that keeps in mind whether the disk could read it.

    Decoders take what a disk says for something that is wrong with the file.

    Attributes:
        error: what the disk said; None: nothing.
    """

    error: OSError | None = None

    def readinto(self, buffer: Any, /) -> int | None:  # noqa: ANN401 - as it was
        """See `io.RawIOBase.readinto`."""
        try:
            return super().readinto(buffer)
        except OSError as error:
            self.error = error
            raise

    def readall(self) -> bytes:
        """See `io.RawIOBase.readall`."""
        try:
            return super().readall()
        except OSError as error:
            self.error = error
            raise


def do(fd: int, order: Order) -> Result:
    """Do what is wanted of an open file, and close it."""
    raw = Raw(fd)
    with io.BufferedReader(raw) as file:
        try:
            result = _look(file, order)
        except OSError:
            result = None
            if raw.error is None:
                raise
    if result is None or raw.error is not None:
        return Result([], None, f"it could not be read: {raw.error}", lasting=False)
    return result


def _look(file: BinaryIO, order: Order) -> Result:
    facts = read_facts(file) if order.facts else None
    images: list[bytes] = []
    problem = ""
    try:
        file.seek(0)
        images = render(file, order.boxes, webp=order.webp) if order.boxes else []
    except UnrenderableError as error:
        problem = str(error) or "it is broken"
    return Result(images, facts, problem)


def main() -> None:
    """Answer until there are no more requests."""
    confine(int(sys.argv[1]), MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES_MAX, FILES_MAX))
    seconds = float(sys.argv[2])
    with socket.socket(fileno=0) as link:
        link.sendall(READY)
        while True:
            data, control, _, _ = link.recvmsg(REQUEST_BYTES, socket.CMSG_SPACE(4))
            if not data:
                return
            fds = array.array("i")
            for _, _, piece in control:
                fds.frombytes(piece)
            signal.setitimer(signal.ITIMER_PROF, seconds)
            answer = msgspec.msgpack.encode(do(fds[0], msgspec.json.decode(data, type=Order)))
            signal.setitimer(signal.ITIMER_PROF, 0)
            link.sendall(len(answer).to_bytes(8) + answer)


if __name__ == "__main__":
    main()
