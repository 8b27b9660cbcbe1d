"""What the machinery around the server asks: is it alive, is it ready, how does it do."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
from prometheus_client.registry import Collector

from api.answers import Answer
from api.encode import to_json
from api.status import Health

RETRY_SECONDS: Final = "2"
"""When a probe may hope for another answer."""


class Live(msgspec.Struct, frozen=True):
    """Whether the process should go on.

    Attributes:
        status: `alive` or `failed`.
        reason: why it failed.
    """

    status: str
    reason: str


class Ready(msgspec.Struct, frozen=True):
    """Whether clients should be sent here.

    Attributes:
        status: `ready` or `not_ready`.
        reason: why not.
        roots_offline: how many roots cannot be read.
        offline: their names, unless a token is configured and the request does not carry it.
    """

    status: str
    reason: str
    roots_offline: int
    offline: Sequence[str]


class Operations(NamedTuple):
    """What is asked here.

    Attributes:
        health: asked for every probe, on the event loop's thread; must wait for nothing.
        collectors: of metrics, asked in a thread; they must not read the database.
    """

    health: Callable[[], Health]
    collectors: Sequence[Collector] = ()


def live(health: Health) -> Answer:
    """Answer whether the process should go on, or be restarted."""
    if health.failure:
        return Answer(to_json(Live("failed", health.failure)), 503)
    return Answer(to_json(Live("alive", "")))


def ready(health: Health, *, named: bool) -> Answer:
    """Answer whether clients should be sent here.

    An absent disk is no reason against it: what is known of it is served, and is what clients want.

    Args:
        health: how the server is.
        named: whether the names of roots may be told.
    """
    reason = health.failure or health.waiting_for
    names = health.offline if named else ()
    body = Ready("not_ready" if reason else "ready", reason, len(health.offline), names)
    if reason:
        return Answer(to_json(body), 503, (("retry-after", RETRY_SECONDS),))
    return Answer(to_json(body))
