"""Answers the two requests that clients make all the time without the framework's detour.

Only requests in their plainest form are answered here, with what the feed answers anyway; all
others, errors of form included, go on to the routes. So leaving this out changes nothing but speed.
"""

from typing import Final

from api.answers import Answer, failure
from api.asgi import Application, Headers, Receive, Scope, Send
from api.feed import Feed
from api.sending import send_answer

_CURSOR: Final = b"/api/v1/cursor"
_CHANGES: Final = b"/api/v1/changes"
_NODE: Final = b"/api/v1/nodes/"
_ID_LENGTH: Final = 36
_PATH_LENGTH: Final = len(_NODE) + _ID_LENGTH + len(b"/path")


class Front:
    """An ASGI application before another.

    Args:
        feed: answers.
        app: gets what is not answered here.

    Attributes:
        TEMPLATES: paths of the routes that it answers for, as the framework has them.
    """

    TEMPLATES: Final = (
        "/api/v1/cursor",
        "/api/v1/changes",
        "/api/v1/nodes/{node_id}/path",
    )

    def __init__(self, feed: Feed, app: Application) -> None:
        self.log_id = feed.log_id
        self._feed = feed
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            try:
                answer = self.quick(scope["raw_path"], scope["query_string"], scope["headers"])
            except Exception as error:  # noqa: BLE001 - logged, and the client is told
                answer = failure(f"GET {scope['path']!r}", error, self.log_id)
            if answer is not None:
                await send_answer(answer, send)
                return
        await self._app(scope, receive, send)

    def quick(self, path: bytes, query: bytes, headers: Headers) -> Answer | None:
        """Answer a GET at once, or return None when it is for the routes.

        Args:
            path: as on the request line, still encoded.
            query: without the question mark.
            headers: names in lower case.
        """
        if path == _CURSOR:
            return None if query else self._feed.cursor()
        if path == _CHANGES:
            return self._nothing_new(query, headers)
        if len(path) == _PATH_LENGTH and path.startswith(_NODE) and path.endswith(b"/path"):
            return self._path(path[len(_NODE) : len(_NODE) + _ID_LENGTH], query)
        return None

    def stop(self) -> None:
        """End what waits for changes: the server stops."""
        self._feed.stop()

    def _nothing_new(self, query: bytes, headers: Headers) -> Answer | None:
        """Answer a client that has everything, for whom no database need be asked."""
        end = self._feed.at_end()
        if end is None or query != b"cursor=%d" % end[0]:
            return None
        return None if any(name == b"x-log-id" for name, _ in headers) else end[1]

    def _path(self, node_id: bytes, query: bytes) -> Answer | None:
        if query or b"/" in node_id or b"%" in node_id:
            return None
        return self._feed.path(node_id.decode("latin-1"))
