"""A worker process: gets open files over its standard input, a Unix socket, and answers there.

Run as `python -m tools.thumbnails.worker PARENT`; of no use by hand. A request is a line of JSON
with one descriptor; an answer is eight bytes of length and then MessagePack. It ends when its input
does, and when its parent dies.
"""

import array
import os
import resource
import socket
import sys

import msgspec

from tools.thumbnails.facts import read_facts
from tools.thumbnails.render import UnrenderableError, render
from tools.thumbnails.wire import Order, Result
from watcher.metadata.confine import confine

MEMORY_BYTES = 768 * 2**20
"""Address space beyond what it begins with: 64 million pixels and what decoding takes."""

FILES_MAX = 64
REQUEST_BYTES = 4_096


def do(fd: int, order: Order) -> Result:
    """Do what is wanted of an open file, and close it."""
    with os.fdopen(fd, "rb") as file:
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
    with socket.socket(fileno=0) as link:
        while True:
            data, control, _, _ = link.recvmsg(REQUEST_BYTES, socket.CMSG_SPACE(4))
            if not data:
                return
            fds = array.array("i")
            for _, _, piece in control:
                fds.frombytes(piece)
            answer = msgspec.msgpack.encode(do(fds[0], msgspec.json.decode(data, type=Order)))
            link.sendall(len(answer).to_bytes(8) + answer)


if __name__ == "__main__":
    main()
