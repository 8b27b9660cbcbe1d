"""A feed as the seed describes it, over a plain dict: what `follow` is tried against."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

SUPER_ROOT_ID = "00000000-0000-0000-0000-000000000000"


class Feed:
    """Nodes and what changed; also how the server is to misbehave."""

    def __init__(self) -> None:
        self.log: list[dict[str, object]] = []
        self.paths: dict[str, str] = {}
        self.page_max = 1000
        self.floor = 0
        self.refusals: list[tuple[int, dict[str, str], bytes]] = []
        self.drops = 0
        self.streams: list[list[bytes]] = []
        self.log_id = ""
        self.requests: list[str] = []
        self.headers: list[str | None] = []

    def put(
        self, node_id: str, path: str, parent_id: str = SUPER_ROOT_ID, size: int | None = None
    ) -> None:
        self.paths[node_id] = path
        node = {
            "id": node_id,
            "parent_id": parent_id,
            "name": path.rpartition("/")[2],
            "is_directory": size is None,
            "size": size or 0,
        }
        self.log.append({"removed": False, "node": node})

    def remove(self, node_id: str, **more: object) -> None:
        del self.paths[node_id]
        self.log.append({"removed": True, "node_id": node_id} | more)

    def answer(self, target: str) -> tuple[int, object]:
        parts = urlsplit(target)
        if parts.path == "/api/v1/cursor":
            return 200, {"cursor": len(self.log), "log_id": self.log_id}
        if parts.path == "/api/v1/changes":
            return self.changes(int(parse_qs(parts.query)["cursor"][0]))
        if parts.path == "/api/v1/changes/stream":
            return 404, {"error": "x", "detail": "no streams"}
        path = self.paths.get(parts.path.split("/")[4])
        return (200, {"path": path}) if path else (404, {"error": "x", "detail": "no node"})

    def changes(self, cursor: int) -> tuple[int, object]:
        if cursor > len(self.log) or 0 < cursor < self.floor:
            gone = {"error": "cursor_expired", "cursor": 0, "changes": []}
            return 410, gone | {"has_more": True, "reset": True}
        page = self.log[cursor : cursor + self.page_max]
        end = cursor + len(page)
        answer = {"cursor": end, "changes": page, "has_more": end < len(self.log)}
        return 200, answer | {"log_id": self.log_id}


class Handler(BaseHTTPRequestHandler):
    """Answers for the server's feed."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def setup(self) -> None:
        self.server.connections.append(self.request)
        super().setup()

    def do_GET(self) -> None:
        feed = self.server.feed
        feed.requests.append(self.path)
        feed.headers.append(self.headers["Authorization"])
        if feed.drops:
            feed.drops -= 1
            self.close_connection = True
            return
        if self.path.startswith("/api/v1/changes/stream") and feed.streams:
            self.stream(feed.streams.pop(0))
            return
        if feed.refusals:
            status, headers, body = feed.refusals.pop(0)
        else:
            status, answer = feed.answer(self.path)
            headers, body = {}, json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, lines: list[bytes]) -> None:
        """Send lines, then end; the last may be half of one."""
        assert self.headers["Accept"] == "application/x-ndjson"
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Connection", "close")
        self.end_headers()
        for line in lines:
            self.wfile.write(line)
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


class Server(ThreadingHTTPServer):
    """Serves one feed, a thread for each connection."""

    def __init__(self, feed: Feed, port: int) -> None:
        self.feed = feed
        self.connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a connection that is cut in the middle of an answer

    def cut(self) -> None:
        for connection in self.connections:
            with contextlib.suppress(OSError):  # the client was first
                connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def served(feed: Feed, port: int = 0) -> Iterator[str]:
    """Serve a feed; gives its URL."""
    server = Server(feed, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.cut()
        server.server_close()
        thread.join()
