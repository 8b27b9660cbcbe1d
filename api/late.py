"""An application that is made when the server runs already.

The web framework takes as long to import, and its routes take as long to make, as a disk of thirty
thousand files takes to list. While a server scans, clients hardly ask for more than `api.front`
answers by itself. So the framework comes after the scan, or when the first request needs it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from api.asgi import Application, Receive, Scope, Send

LOOK_SECONDS: Final = 0.1
"""How often is looked whether the server has time now."""


class Late:
    """An ASGI application in the place of another that is not made yet.

    Args:
        make: makes the other one; called once, in a thread.
        has_time: says whether it may be made although nobody needs it yet.
        closers: called when the server has stopped.
    """

    def __init__(
        self,
        make: Callable[[], Application],
        has_time: Callable[[], bool],
        closers: Sequence[Callable[[], object]],
    ) -> None:
        self._make = make
        self._has_time = has_time
        self._closers = closers
        self._making: asyncio.Task[Application] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, as soon as there is somebody to take it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        app = await self._made()
        await app(scope, receive, send)

    async def _made(self) -> Application:
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)  # a client that leaves does not end it

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.create_task(self._make_in_time())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        waiting.cancel()
        for close in self._closers:
            close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _make_in_time(self) -> None:
        while not self._has_time():  # noqa: ASYNC110 - of readiness nobody tells
            await asyncio.sleep(LOOK_SECONDS)
        await self._made()
