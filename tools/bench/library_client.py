"""A server of the media library, and a client that asks it over one connection."""

import contextlib
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tools.bench.bench import ended
from tools.bench.feeds import NASFEED, Feed
from tools.errors import OperatorError

NAME: Final = "anna"
PASSWORD: Final = "correct horse battery staple"  # noqa: S105 - of nobody


class Client:
    """Somebody who is logged in.

    Args:
        port: of the server on this machine.

    Attributes:
        cookie: of the session, as the header wants it.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.cookie = ""
        body = json.dumps({"userName": NAME, "password": PASSWORD}).encode()
        fields = {"Content-Type": "application/json"}
        self._connection.request("POST", "/login.icc", body, fields)
        response = self._connection.getresponse()
        decoded(response.read())
        self.cookie = (response.getheader("set-cookie") or "").partition(";")[0]

    def ask(self, target: str) -> dict[str, Any]:
        """Ask for something that is answered in the envelope, and return the answer.

        Raises:
            OperatorError: it was refused.
        """
        return decoded(self.raw(target))

    def raw(self, target: str) -> bytes:
        """Ask for something and return the body of the answer."""
        self._connection.request("GET", target, headers={"Cookie": self.cookie})
        return self._connection.getresponse().read()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


@contextlib.contextmanager
def serving(state: Path, roots: Mapping[str, str]) -> Iterator[Feed]:
    """Run a server with a media library.

    Args:
        state: directory of its database, `feed.db`.
        roots: path of each root.
    """
    feed = Feed(NASFEED, state, state, {"watches": roots, "library": {"enabled": True}})
    with ended(feed):
        feed.child.wait_until(feed.ready)
        yield feed


def decoded(body: bytes) -> dict[str, Any]:
    """Return an answer.

    Raises:
        OperatorError: it is a refusal.
    """
    answer: dict[str, Any] = json.loads(body)
    if answer.get("code") != 0:
        raise OperatorError(f"the library refused: {body[:200]!r}")
    return answer
