"""Gives each request to the face that it is for."""

from collections.abc import Sequence
from typing import Protocol

from api.answers import Answer
from api.asgi import Headers, QuickApplication, Receive, Scope, Send
from api.guard import Guard
from api.sending import send_answer


class Face(Protocol):
    """An application with paths of its own, which also knows who may use it."""

    def concerns(self, raw_path: bytes) -> bool:
        """Say whether a request is for it, by the encoded path of its target."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        ...

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a plain GET at once, or return None: then it must be awaited."""
        ...

    def close(self) -> None:
        """End; nothing is asked any more."""
        ...


class Switch:
    """An ASGI application before several others.

    Args:
        app: gets what is for no face; it has a guard of its own.
        faces: the first that a request concerns gets it.
        names: checks under which name the server was addressed, before a face is asked.
    """

    def __init__(self, app: QuickApplication, faces: Sequence[Face], names: Guard) -> None:
        self.log_id = app.log_id
        self._app = app
        self._faces = tuple(faces)
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        face = self._face(scope["raw_path"]) if scope["type"] == "http" else None
        if face is None:
            await self._app(scope, receive, send)
            return
        refusal = self._names.check(scope["headers"])
        if refusal is not None:
            await send_answer(refusal, send)
        else:
            await face(scope, receive, send)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a plain GET at once, or return None: then it must be awaited.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        face = self._face(path)
        if face is None:
            return self._app.quick(path, query, headers)
        return self._names.check(headers) or face.quick(path, query, headers)

    def stop(self) -> None:
        """End what waits for something to happen: the server stops."""
        self._app.stop()

    def _face(self, raw_path: bytes) -> Face | None:
        return next((face for face in self._faces if face.concerns(raw_path)), None)
