"""Print the changes of a running feed as they come, one line each.

The signs are + new, ~ changed, → moved, - gone. A file appears twice: as soon as it is seen, and
when its hash is known. Stop with Ctrl-C. The server may be restarted meanwhile. A bearer token, if
the server wants one, is taken from the environment variable NASFEED_TOKEN.
"""

import argparse
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple, TextIO, TypeVar

import msgspec

from eventlog.clock import Clock, SystemClock
from tools.config import environment_token
from tools.errors import OperatorError
from tools.feed_client import FeedClient, Page, UnreachableError
from tools.sightings import CREATED, GONE, MODIFIED, MOVED, Sighting, Sightings
from tools.text import local_time, printable, size

DEFAULT_URL = "http://127.0.0.1:8080"
INTERVAL_SECONDS = 1.0
BACKOFF_MIN_SECONDS = 0.5
BACKOFF_MAX_SECONDS = 30.0

_SIGNS = {CREATED: "+", MODIFIED: "~", MOVED: "→", GONE: "-"}

T = TypeVar("T")
Pause = Callable[[float], object]
"""Waits for some seconds."""


class Options(NamedTuple):
    """How to follow.

    Attributes:
        start: a cursor, or None for now.
        once: end when there is nothing more.
        as_json: one JSON object a line, for programs.
        interval_seconds: between polls.
    """

    start: int | None = None
    once: bool = False
    as_json: bool = False
    interval_seconds: float = INTERVAL_SECONDS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("url", metavar="URL", nargs="?", default=DEFAULT_URL, help=DEFAULT_URL)
    parser.add_argument(
        "--from",
        dest="start",
        metavar="CURSOR",
        type=_cursor,
        default="now",
        help="begin after this position; 0: with everything there is; now (default)",
    )
    parser.add_argument("--once", action="store_true", help="end when there is nothing more")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=INTERVAL_SECONDS,
        help="between polls (default: 1)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Follow until interrupted, or with --once until the end."""
    options = Options(arguments.start, arguments.once, arguments.json, arguments.interval)
    client = FeedClient(arguments.url, environment_token())
    try:
        Follower(client, options, sys.stdout, SystemClock(), threading.Event().wait).follow()
    finally:
        client.close()
    return 0


class Follower:
    """Reads a feed page by page and prints it.

    Args:
        client: asks the server.
        options: how.
        out: where lines go.
        clock: the time of day.
        pause: waits between polls.
    """

    def __init__(
        self, client: FeedClient, options: Options, out: TextIO, clock: Clock, pause: Pause
    ) -> None:
        self._client = client
        self._options = options
        self._out = out
        self._clock = clock
        self._pause = pause

    def follow(self) -> None:
        """Print what comes; returns only when told to do it once.

        Raises:
            OperatorError: the server refuses, or is no feed.
        """
        start = self._options.start
        cursor = self._patiently(self._client.cursor) if start is None else start
        seen = Sightings(self._path, from_start=cursor == 0)
        while True:
            after = cursor
            page = self._patiently(lambda: self._client.changes(after))  # noqa: B023 - called at once
            if page.reset:
                self._tell_reset(after)
                seen = Sightings(self._path, from_start=True)
            self._show(page, seen, cursor)
            cursor = page.cursor
            if page.has_more:
                continue
            if self._options.once:
                return
            self._pause(self._options.interval_seconds)

    def _show(self, page: Page, seen: Sightings, after: int) -> None:
        seen.begin_page()
        for raw in page.changes:
            sighting = seen.see(raw, after)
            line = _json_line(sighting, raw) if self._options.as_json else self._line(sighting)
            self._out.write(line)
        self._out.flush()

    def _line(self, sighting: Sighting) -> str:
        path = printable(sighting.path)
        if sighting.change == MOVED:
            path = f"{printable(sighting.from_path)} → {path}"
        detail = "" if sighting.size is None else f"  {size(sighting.size)}"
        when = local_time(self._clock.now_us())
        return f"{when}  {_SIGNS[sighting.change]} {path}{'/' * sighting.is_directory}{detail}\n"

    def _tell_reset(self, after: int) -> None:
        """What was printed before may no longer be true."""
        if after == 0:
            raise OperatorError(f"{self._client.url}: it refuses even cursor 0; this is no feed")
        if self._options.as_json:
            self._out.write('{"change":"reset"}\n')
        _note(f"{self._client.url}: this position is not known there; reading everything anew")

    def _path(self, node_id: str) -> str | None:
        return self._patiently(lambda: self._client.path(node_id))

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask until there is an answer; say only once that there is none."""
        wait = 0.0
        while True:
            try:
                return ask()
            except UnreachableError as error:
                if self._options.once:
                    raise OperatorError(str(error)) from error
                if not wait:
                    _note(f"{error}; trying until it answers")
                wait = min(max(2 * wait, BACKOFF_MIN_SECONDS), BACKOFF_MAX_SECONDS)
                self._pause(min(error.wait_seconds, BACKOFF_MAX_SECONDS) or wait)


def _json_line(sighting: Sighting, raw: msgspec.Raw) -> str:
    """The change as the server sent it, after what was found out about it."""
    about = {"change": sighting.change, "path": sighting.path}
    if sighting.change == MOVED:
        about["from_path"] = sighting.from_path
    return msgspec.json.encode(about | msgspec.json.decode(raw)).decode() + "\n"


def _note(text: str) -> None:
    print(f"nasfeed: {text}", file=sys.stderr, flush=True)


def _cursor(text: str) -> int | None:
    if text == "now":
        return None
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no cursor: 0, a position, or now")
    return int(text)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
