"""Passwords as argon2id hashes (RFC 9106), and a limit on how fast they can be guessed."""

import functools
import secrets
import threading
from collections import OrderedDict
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from eventlog.clock import Clock

PASSWORD_MAX: Final = 1_024
"""Characters; a longer one is refused before it costs anything."""

WINDOW_SECONDS: Final = 60.0
"""How long an attempt counts."""

KEPT_MAX: Final = 10_000
"""Users and addresses that are remembered; the oldest are forgotten first."""

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
_lock = threading.Lock()
"""A verification takes 64 MiB and a core for 50 ms; ten at once would take the server."""


@functools.cache
def _nobody() -> str:
    """Return a hash that no password has, made when it is first needed: that takes a while."""
    return _hasher.hash(secrets.token_hex())


def hash_password(password: str) -> str:
    """Return the hash of a password in PHC form."""
    with _lock:
        return _hasher.hash(password)


def is_right(password: str, hashed: str | None) -> bool:
    """Say whether a password is the one of a hash; takes the same time where there is none.

    Args:
        password: as the client gave it.
        hashed: of the user; None or empty: there is no such user, or nobody may log in as one.
    """
    if len(password) > PASSWORD_MAX:
        return False
    with _lock:
        try:
            _hasher.verify(hashed or _nobody(), password)
        except (VerificationError, InvalidHashError):
            return False
        return bool(hashed)


class Attempts:
    """Counts wrong passwords by user and by address.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def take(self, *limits: tuple[str, int]) -> float:
        """Count an attempt before it is made, so that many at once count as well.

        Args:
            limits: what is counted, such as an address, and how often it may be tried.

        Returns:
            0 when it may be made, else the seconds to wait.
        """
        now = self._clock.monotonic()
        with self._lock:
            counted = [(self._recent(key, now), tries) for key, tries in limits]
            waits = [at[-tries] + WINDOW_SECONDS - now for at, tries in counted if len(at) >= tries]
            if not waits:
                for found, _ in counted:
                    found.append(now)
            return max(waits, default=0.0)

    def forgive(self, *keys: str) -> None:
        """Forget the attempts of keys: the last one was right."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)

    def _recent(self, key: str, now: float) -> list[float]:
        found = [at for at in self._failed.pop(key, []) if at > now - WINDOW_SECONDS]
        self._failed[key] = found
        if len(self._failed) > KEPT_MAX:
            self._failed.popitem(last=False)
        return found
