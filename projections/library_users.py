"""Who may use the media library, and who is logged in. Every change is a job of the log's writer.

Passwords are argon2id hashes (RFC 9106) by the time they get here; tokens and share keys are kept
as SHA-256 hashes, which suffices because they are 32 random bytes.
"""

import os
from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

import msgspec

from eventlog.errors import LogError
from eventlog.events import SUPER_ROOT
from eventlog.library import Kind, Right, Session, User
from projections.library import Library
from projections.library_store import Change, LibraryStore
from projections.tree import Tree

NAME_MAX: Final = 100

SECOND_US: Final = 1_000_000


class UserError(LogError):
    """A user cannot be made or changed as was asked; the message says why."""


def add(name: str, password: str, rights: Sequence[Right]) -> Callable[[Change], int]:
    """Return a job that makes a user.

    Args:
        name: of the user; no other one may have it, in upper or lower case.
        password: hash of it.
        rights: what the user may do where.

    Returns:
        The job; it returns the number of the user and raises UserError.
    """

    def job(change: Change) -> int:
        _check_name(name)
        _check_rights(change, rights)
        if change.library.user_named(name) is not None:
            raise UserError(f"there is a user {name!r} already; nasfeed library user list")
        return change.put(User(name, password, tuple(rights), change.now_us, change.now_us))

    return job


def change_user(
    name: str,
    *,
    password: str | None = None,
    rights: Sequence[Right] | None = None,
) -> Callable[[Change], int]:
    """Return a job that gives a user another password or other rights.

    Another password ends all sessions and shares of the user. Other rights are asked for at each
    use; a share of what the user may not read any more ends, and does not come back with the right.

    Args:
        name: of the user.
        password: hash of the new one; None: as it was.
        rights: the new ones; None: as they were.

    Returns:
        The job; it returns the number of the user and raises UserError.
    """

    def job(change: Change) -> int:
        number, user = known(change, name)
        if rights is not None:
            _check_rights(change, rights)
            user = msgspec.structs.replace(user, rights=tuple(rights))
            _end_unreadable(change, number, {right.root for right in rights})
        if password is not None:
            user = msgspec.structs.replace(user, password=password)
            end_sessions(change, number, "password changed")
            end_shares(change, number, "password changed")
        change.put(msgspec.structs.replace(user, changed_us=change.now_us), number)
        return number

    return job


def remove(name: str) -> Callable[[Change], int]:
    """Return a job that removes a user, and with it sessions and shares.

    Returns:
        The job; it returns the number that the user had and raises UserError.
    """

    def job(change: Change) -> int:
        number, _ = known(change, name)
        end_sessions(change, number, "user removed")
        end_shares(change, number, "user removed")
        for upload, _state in change.library.uploads(number):
            change.end(Kind.UPLOAD, upload, "user removed")
        change.end(Kind.USER, number, "removed")
        return number

    return job


def known(change: Change, name: str) -> tuple[int, User]:
    """Return number and state of a user.

    Raises:
        UserError: there is none.
    """
    found = change.library.user_named(name)
    if found is None:
        raise UserError(f"there is no user {name!r}; nasfeed library user list")
    return found


def log_in(
    number: int, token: bytes, address: str, timeout_us: int, sessions_max: int
) -> Callable[[Change], User | None]:
    """Return a job that begins a session.

    Args:
        number: of the user, whose password was right.
        token: hash of the session's token.
        address: of the client.
        timeout_us: how long the session may idle, microseconds.
        sessions_max: of all users; the one that would expire first ends when there are more.

    Returns:
        The job; it returns the user, or None when it was removed meanwhile.
    """

    def job(change: Change) -> User | None:
        user = change.library.user(number)
        if user is None:
            return None
        _make_room(change, sessions_max)
        now = change.now_us
        change.put(Session(number, token, now, now + timeout_us, address))
        change.put(msgspec.structs.replace(user, login_us=now), number)
        return user

    return job


def extend(token: bytes, expires_us: int) -> Callable[[Change], None]:
    """Return a job that has a session go on, if it has not ended meanwhile.

    Args:
        token: hash of its token.
        expires_us: until when, microseconds since 1970 UTC.
    """

    def job(change: Change) -> None:
        found = change.library.session(token)
        if found is not None:
            change.put(msgspec.structs.replace(found[1], expires_us=expires_us), found[0])

    return job


class LoggedIn(NamedTuple):
    """A session and whose it is.

    Attributes:
        number: of the session.
        session: what is known of it.
        user: whose it is.
    """

    number: int
    session: Session
    user: User


def session_of(library: Library, token: bytes) -> LoggedIn | None:
    """Return the session of a token's hash, or None; it may be over."""
    found = library.session(token)
    user = library.user(found[1].user) if found else None
    return LoggedIn(*found, user) if found and user else None


def log_out(token: bytes) -> Callable[[Change], None]:
    """Return a job that ends the session of a token's hash, if there is one."""

    def job(change: Change) -> None:
        found = change.library.session(token)
        if found is not None:
            change.end(Kind.SESSION, found[0], "logged out")

    return job


def end_sessions(change: Change, user: int, reason: str) -> None:
    """End all sessions of a user."""
    for number, _ in change.library.sessions(user):
        change.end(Kind.SESSION, number, reason)


def end_shares(change: Change, user: int, reason: str) -> None:
    """End all shares of a user."""
    for number, share in change.library.shares():
        if share.user == user:
            change.end(Kind.SHARE, number, reason)


def _end_unreadable(change: Change, user: int, roots: Collection[str]) -> None:
    """End the shares of a user but for those of files in some roots."""
    for number, share in change.library.shares():
        above = change.tree.names(share.node) if share.user == user else None
        if above and above[0].decode("utf-8", "replace") not in roots:
            change.end(Kind.SHARE, number, "right withdrawn")


def any_over(store: LibraryStore, now_us: int) -> bool:
    """Return whether `expire` would end anything at a time."""
    with store.reading() as view:
        return bool(_over(view.library, now_us))


def expire(change: Change) -> int:
    """End the sessions and shares whose time is over; return how many there were."""
    over = _over(change.library, change.now_us)
    for kind, number in over:
        change.end(kind, number, "expired")
    return len(over)


def _over(library: Library, now_us: int) -> list[tuple[Kind, int]]:
    ends = [(Kind.SESSION, number, state.expires_us) for number, state in library.sessions()]
    ends += [(Kind.SHARE, number, state.expires_us) for number, state in library.shares()]
    return [(kind, number) for kind, number, expires_us in ends if expires_us <= now_us]


def _make_room(change: Change, sessions_max: int) -> None:
    """End the sessions that are over, then those that would be first."""
    by_end = sorted((s.expires_us, number) for number, s in change.library.sessions())
    surplus = len(by_end) + 1 - sessions_max
    for nth, (expires_us, number) in enumerate(by_end):
        if expires_us <= change.now_us or nth < surplus:
            change.end(Kind.SESSION, number, "expired" if expires_us <= change.now_us else "full")


def _check_name(name: str) -> None:
    if not 0 < len(name) <= NAME_MAX or not name.isprintable() or name != name.strip():
        raise UserError(f"{name!r} is no name: 1 to {NAME_MAX} characters that can be printed")


def roots(tree: Tree) -> list[tuple[str, str]]:
    """Return name and path of each root."""
    states = [node.state for node in tree.children(SUPER_ROOT)]
    return [(s.name.decode("utf-8", "replace"), os.fsdecode(s.target)) for s in states]


def root_names(change: Change) -> list[str]:
    """Return the names of the roots that there are."""
    nodes = change.tree.children(SUPER_ROOT)
    return sorted(node.state.name.decode("utf-8", "replace") for node in nodes)


def _check_rights(change: Change, rights: Sequence[Right]) -> None:
    roots = root_names(change)
    names = [right.root for right in rights]
    for name in names:
        if name not in roots:
            raise UserError(f"there is no root {name!r}; there are: {', '.join(roots) or 'none'}")
        if names.count(name) > 1:
            raise UserError(f"the root {name!r} is named twice")
