"""The body of a request, of which it is known whether all of it came."""

from api.asgi import Message, Receive
from api.bodies import drain


class Incoming:
    """Receives as ASGI says, and knows when there is no more.

    Args:
        receive: of ASGI.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_ended = False

    async def __call__(self) -> Message:
        """Return the next message."""
        message = await self._receive()
        is_body = message["type"] == "http.request"
        self._has_ended = not (is_body and message.get("more_body", False))
        return message

    async def drain(self) -> None:
        """Take the rest of the body, up to a limit, so that the client hears why it is refused.

        After its end nothing is asked for: there would be nothing until the client goes away.
        """
        if not self._has_ended:
            await drain(self._receive)
