"""Bodies of requests, taken a piece at a time."""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from api.asgi import Receive

PIECE_BYTES: Final = 2**18
"""What is read, sent or written at once: large enough to be fast, small enough for many clients."""

DRAIN_BYTES: Final = 2**26
"""What is still taken of the body of a request that is refused, so that the client, who sends
first and listens afterwards, hears why."""


class CutError(Exception):
    """The client has gone, or the file is no longer as long as was promised."""


async def bodies(receive: Receive, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[bytes]:
    """Yield the body of a request in pieces of a good size.

    Args:
        receive: of ASGI.
        piece_bytes: all but the last are at least so long.

    Raises:
        CutError: the client went away before its end.
    """
    waiting = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CutError
        waiting += message.get("body", b"")
        is_last = not message.get("more_body", False)
        if len(waiting) >= piece_bytes or is_last:
            yield bytes(waiting)
            waiting.clear()
        if is_last:
            return


async def drain(receive: Receive) -> None:
    """Take what is left of a body, up to a limit."""
    taken = 0
    with contextlib.suppress(CutError):
        async for piece in bodies(receive):
            taken += len(piece)
            if taken > DRAIN_BYTES:
                return
