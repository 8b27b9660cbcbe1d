"""Runs the HTTP server inside a running asyncio program, until it is told to stop.

uvicorn's protocol is used, its server is not: that one installs signal handlers, leaves the process
when a port is taken, and waits for open connections without end.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import AsyncIterator, Callable
from email.utils import formatdate
from typing import Final, cast

from uvicorn import Config
from uvicorn.lifespan.on import LifespanOn

from api.asgi import QuickApplication, Receive, Scope, Send
from api.connections import Connections
from api.limits import Limits
from api.listening import Bound
from api.protocol import GuardedProtocol, State
from api.zerocopy import ZERO_COPY, ZeroCopySend

Address = tuple[str, int]

_BACKLOG: Final = 1_024
_KERNEL_BYTES: Final = 128 * 2**10
_PARTING_SECONDS: Final = 0.1
_ACCEPT_TURNS: Final = 3
"""Turns of the loop until a connection that was accepted last is known as one, and refused."""


class StartError(Exception):
    """The application did not start; the log has the details."""


class _Interruptible:
    """Lets a request be cancelled without complaint when the server stops, and send files."""

    def __init__(self, app: QuickApplication, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self.is_stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["extensions"] = {**scope.get("extensions", {}), ZERO_COPY: {}}
            send = ZeroCopySend(send, self._limits)
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # Its connection is closed already: there is nobody to complain to.
            if not self.is_stopping:
                raise


async def serve(
    app: QuickApplication,
    bound: Bound,
    stop: asyncio.Event,
    ready: Callable[[list[Address]], None],
    connections: Connections | None = None,
    protocol: type[GuardedProtocol] = GuardedProtocol,
) -> None:
    """Serve until stopped; then every request has `stop_seconds` of the limits to end.

    Args:
        app: what is served.
        bound: where to listen.
        stop: set by the caller to end this.
        ready: called once with the addresses listened on, when requests are answered.
        connections: shows who is connected, and holds the limits.
        protocol: of a connection.

    Raises:
        ListenError: it cannot listen there.
        StartError: the application did not start.
    """
    places = Connections() if connections is None else connections
    interruptible = _Interruptible(app, places.limits)
    state = State(places, app)
    config = _config(interruptible, places.limits)
    async with _lifespan(config) as app_state:
        loop = asyncio.get_running_loop()
        state.tick(loop.time(), formatdate(usegmt=True))
        listeners = await _listen(
            lambda: protocol(config, state, dict(app_state), loop),
            bound,
            places.limits.receive_seconds,
        )
        ticker = asyncio.create_task(_tick(state))
        try:
            ready([each.getsockname()[:2] for each in bound.sockets])
            await stop.wait()
        finally:
            interruptible.is_stopping = state.is_stopping = True
            for listener in listeners:
                listener.close()
            app.stop()
            await _close_connections(state, places.limits.stop_seconds)
            ticker.cancel()
            await asyncio.gather(*(listener.wait_closed() for listener in listeners))


def _config(app: _Interruptible, limits: Limits) -> Config:
    config = Config(
        cast("Callable[..., object]", app),
        http=GuardedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # Each worker would watch and write by itself; without this the environment decides.
        workers=1,
        # Nobody may say for another who the client is.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=math.ceil(limits.keep_alive_seconds),
    )
    config.load()
    return config


@contextlib.asynccontextmanager
async def _lifespan(config: Config) -> AsyncIterator[dict[str, object]]:
    lifespan = LifespanOn(config)
    await lifespan.startup()
    if lifespan.should_exit:
        raise StartError("the HTTP application did not start; the lines above say why")
    try:
        yield lifespan.state
    finally:
        await lifespan.shutdown()


async def _listen(
    factory: Callable[[], GuardedProtocol], bound: Bound, silence: float
) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    for place in bound.sockets:
        # Connections inherit it: what a slow client does not take waits here, where it is counted
        # and limited, not in the kernel, while the whole answer is held in memory all the same.
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL_BYTES)
        # The small heartbeats of a stream fit into the kernel for hours after its client died.
        place.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silence * 1_000))
    with bound.explained():
        return [
            await loop.create_server(factory, sock=place, backlog=_BACKLOG)
            for place in bound.sockets
        ]


async def _tick(state: State) -> None:
    """Look at deadlines and keep the date, for as long as the server runs."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(state.tick_seconds)
        state.tick(loop.time(), formatdate(usegmt=True))


async def _close_connections(state: State, grace_seconds: float) -> None:
    """Close idle connections, let the others finish, and cut what does not."""
    for _ in range(_ACCEPT_TURNS):
        await asyncio.sleep(0)
    for connection in tuple(state.connections):
        connection.shutdown()
    if state.connections:
        state.empty.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(state.empty.wait(), grace_seconds)
    for connection in tuple(state.connections):
        connection.transport.abort()
    if tasks := tuple(state.tasks):
        # Requests that listen for the client's leaving end by themselves now.
        _, lasting = await asyncio.wait(tasks, timeout=_PARTING_SECONDS)
        for task in lasting:
            task.cancel()
        await asyncio.gather(*lasting, return_exceptions=True)
