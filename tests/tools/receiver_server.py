"""A receiver of webhooks that answers as it is told."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Inbox:
    """What came, and how it is to be answered.

    Attributes:
        messages: fields, with names in lower case, and body of each request.
        answers: status and fields of the next answers; afterwards all is well.
        hold: while it is not set, no answer begins.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.hold = threading.Event()
        self.hold.set()


@contextlib.contextmanager
def receiving(inbox: Inbox, port: int = 0) -> Iterator[str]:
    """Take messages; gives the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            inbox.messages.append(({k.lower(): v for k, v in self.headers.items()}, body))
            inbox.hold.wait(60)
            status, fields = inbox.answers.pop(0) if inbox.answers else (204, {})
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            if status != 204:
                self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # whoever posted has gone

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hook/secret-path"
    finally:
        inbox.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
