"""The body of a request, of which it is known whether all of it came."""

import asyncio
import contextlib
import itertools

from api.asgi import Message, Receive
from api.bodies import CutError, drain


class Incoming:
    """Receives as ASGI says, knows when there is no more, and can be told to stop.

    Args:
        receive: of ASGI.

    Attributes:
        turn: a number that is larger than those of all requests that came before.
    """

    _turns = itertools.count(1)

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.turn = next(self._turns)
        self._has_ended = False
        self._gives_way = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def gave_way(self) -> bool:
        """Whether it was told to stop."""
        return self._gives_way.is_set()

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            CutError: it was told to stop.
        """
        if self._has_ended:
            return await self._receive()
        message = await self._next()
        is_body = message["type"] == "http.request"
        self._has_ended = not (is_body and message.get("more_body", False))
        return message

    async def _next(self) -> Message:
        receiving = asyncio.ensure_future(self._receive())
        stopping = asyncio.ensure_future(self._gives_way.wait())
        try:
            await asyncio.wait((receiving, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self._gives_way.is_set():
                self._has_ended = True
                raise CutError
            return receiving.result()
        finally:
            for task in (receiving, stopping):
                task.cancel()

    def give_way(self) -> None:
        """Have it stop, as if the client had gone."""
        self._gives_way.set()

    def end(self) -> None:
        """Say that all was done with what came."""
        self._over.set()

    async def wait_over(self, seconds: float) -> None:
        """Wait until that was said, or for so long."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)

    async def drain(self) -> None:
        """Take the rest of the body, up to a limit, so that the client hears why it is refused.

        After its end nothing is asked for: there would be nothing until the client goes away.
        """
        if not self._has_ended:
            await drain(self._receive)
