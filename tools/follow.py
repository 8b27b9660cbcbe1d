"""Print the changes of a running feed as they come, one line each.

The signs are + new, ~ changed, → moved, - gone. A file appears twice: as soon as it is seen, and
when its hash is known. Stop with Ctrl-C. The server may be restarted meanwhile. A bearer token, if
the server wants one, is taken from the environment variable NASFEED_TOKEN.
"""

import argparse
import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import msgspec

from eventlog.clock import Clock, SystemClock
from tools.client.backoff import Backoff
from tools.client.connection import WAIT_SECONDS_MAX, FeedClient
from tools.client.errors import ClientError, UnavailableError
from tools.client.following import INTERVAL_SECONDS, Following, Pace, Pause
from tools.client.state import StateFile
from tools.client.wire import START, Page, Position
from tools.config import environment_token
from tools.errors import OperatorError
from tools.mirrored import MirrorSightings
from tools.sightings import CREATED, GONE, MODIFIED, MOVED, Sighting, Sightings
from tools.text import local_time, printable, size

DEFAULT_URL = "http://127.0.0.1:8080"
_SIGNS = {CREATED: "+", MODIFIED: "~", MOVED: "→", GONE: "-"}

Seen = tuple[Sighting, dict[str, Any]]
"""What happened, and the change as JSON."""


class Options(NamedTuple):
    """How to follow.

    Attributes:
        start: a cursor, or None for now.
        once: end when there is nothing more.
        as_json: one JSON object a line, for programs.
        interval_seconds: between polls, where the server cannot wait for news.
        stream: have changes sent as they come, where the server can do that.
    """

    start: int | None = None
    once: bool = False
    as_json: bool = False
    interval_seconds: float = INTERVAL_SECONDS
    stream: bool = False


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
        help="between polls, if the server cannot tell by itself (default: 1)",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        type=Path,
        help="keep here what is known, and go on from it the next time; the first time, all is new",
    )


def run(arguments: argparse.Namespace) -> int:
    """Follow until interrupted, or with --once until the end.

    Raises:
        OperatorError: the server refuses, is no feed, or the state cannot be kept.
    """
    options = Options(
        arguments.start,
        arguments.once,
        arguments.json,
        arguments.interval,
        stream=not arguments.once,
    )
    if arguments.state and options.start is not None:
        raise OperatorError("give --from or --state, not both: a state knows where to go on")
    with contextlib.ExitStack() as opened:
        try:
            client = FeedClient(arguments.url, environment_token())
            opened.callback(client.close)
            state = StateFile(arguments.state) if arguments.state else None
        except ClientError as error:
            raise OperatorError(str(error)) from error
        if state is not None:
            opened.callback(state.close)
        around = Around(sys.stdout, SystemClock(), threading.Event().wait)
        Follower(client, options, around, state).follow()
    return 0


class Around(NamedTuple):
    """What surrounds a follower.

    Attributes:
        out: where lines go.
        clock: time.
        pause: waits.
        backoff: how long to wait for a server that is away.
    """

    out: TextIO
    clock: Clock
    pause: Pause
    backoff: Backoff | None = None


class Follower:
    """Reads a feed page by page and prints it.

    Args:
        client: asks the server.
        options: how.
        around: what surrounds it.
        state: keeps what is known, or None.
    """

    def __init__(
        self, client: FeedClient, options: Options, around: Around, state: StateFile | None = None
    ) -> None:
        self._client = client
        self._options = options
        self._out = around.out
        self._clock = around.clock
        self._state = state
        wait_seconds = 0 if options.once else WAIT_SECONDS_MAX
        self._following = Following(
            client,
            Pace(wait_seconds, options.interval_seconds, stream=options.stream),
            on_trouble=self._on_trouble,
            pause=around.pause,
            backoff=around.backoff,
            seconds=around.clock.monotonic,
        )

    def follow(self) -> None:
        """Print what comes; returns only when told to do it once.

        Raises:
            OperatorError: the server refuses, is no feed, or the state cannot be kept.
        """
        try:
            self._follow()
        except ClientError as error:
            raise OperatorError(str(error)) from error

    def _follow(self) -> None:
        seen = self._seen_by_state() if self._state else self._seen_in_passing()
        for is_last in seen:
            self._out.flush()
            if is_last and self._options.once:
                return

    def _seen_in_passing(self) -> Iterator[bool]:
        """Print each page, knowing only what came by; yields whether it was the last."""
        start = self._options.start
        ask = self._client.end
        position = self._following.patiently(ask) if start is None else Position(start)
        seen = Sightings(self._path, from_start=position == START)
        for page in self._following.pages(position):
            if page.reset:
                self._tell_reset()
                seen = Sightings(self._path, from_start=True)
            self._print(_one_by_one(seen, page, position))
            position = page.position
            yield not page.has_more

    def _seen_by_state(self) -> Iterator[bool]:
        """Print what differs, then keep it: after a crash, a line may come twice."""
        state = self._state
        assert state is not None
        seen = MirrorSightings(state.mirror, self._path)
        for page in self._following.pages(state.mirror.position):
            if page.reset:
                _note(f"{self._client.url}: this position is not known there; reading all anew")
            self._print(seen.see(page))
            state.keep(page)
            yield not page.has_more

    def _print(self, seen: Iterable[Seen]) -> None:
        for sighting, change in seen:
            as_json = self._options.as_json
            self._out.write(_json_line(sighting, change) if as_json else self._line(sighting))

    def _line(self, sighting: Sighting) -> str:
        path = printable(sighting.path)
        if sighting.change == MOVED:
            path = f"{printable(sighting.from_path)} → {path}"
        detail = "" if sighting.size is None else f"  {size(sighting.size)}"
        when = local_time(self._clock.now_us())
        return f"{when}  {_SIGNS[sighting.change]} {path}{'/' * sighting.is_directory}{detail}\n"

    def _tell_reset(self) -> None:
        """What was printed before may no longer be true."""
        if self._options.as_json:
            self._out.write('{"change":"reset"}\n')
        _note(f"{self._client.url}: this position is not known there; reading everything anew")

    def _path(self, node_id: str) -> str | None:
        return self._following.patiently(lambda: self._client.path(node_id))

    def _on_trouble(self, error: UnavailableError) -> None:
        if self._options.once:
            raise OperatorError(str(error)) from error
        _note(f"{error}; trying until it answers")


def _one_by_one(seen: Sightings, page: Page, after: Position) -> Iterator[Seen]:
    seen.begin_page()
    for raw in page.changes:
        yield seen.see(raw, after.cursor), msgspec.json.decode(raw)


def _json_line(sighting: Sighting, change: dict[str, Any]) -> str:
    """The change as the server sent it, after what was found out about it."""
    about = {"change": sighting.change, "path": sighting.path}
    if sighting.change == MOVED:
        about["from_path"] = sighting.from_path
    return msgspec.json.encode(about | change).decode() + "\n"


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
