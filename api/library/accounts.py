"""Logging in and out, and what clients store for themselves."""

import hashlib
import math
import secrets
from typing import Final

import msgspec

from api.library.call import FACE, SECOND_US, Call, Reading, Reply, Service, Who
from api.library.parameters import HELP_MAX, Parameters
from api.library.passwords import PASSWORD_MAX, Attempts, is_right
from api.library.shown import help_info, user_info
from api.library.wire import BAD_PARAMETER, NOT_LOGGED_IN, WRONG_PASSWORD, Json, LibraryError
from eventlog.library import Help, Note, Session
from projections import library_users
from projections.library_store import Change
from projections.library_users import NAME_MAX

COOKIE: Final = "session"

_TOKEN_BYTES: Final = 32
_TOO_MANY: Final = 429
_EXTEND_AFTER: Final = 0.1
"""Part of the time that a session may idle, after which a request has it go on in the log, too:
what is asked in quick succession appends nothing."""

_OF_USER, _OF_CATALOG, _OF_FILE = range(3)


class Accounts:
    """Tells who a client is.

    Args:
        service: what requests work with.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._attempts = Attempts(service.clock)

    def who(self, cookies: str) -> Who | None:
        """Return whose session a request belongs to, and have that session go on.

        Args:
            cookies: the field Cookie.
        """
        token = _token(cookies)
        if not token:
            return None
        hashed = digest(token)
        with self._service.store.reading() as view:
            found = library_users.session_of(view.library, hashed)
        if found is None or found.session.expires_us <= self._service.now_us:
            return None
        self._extend(found.session)
        return Who(found.session.user, found.user, hashed)

    def log_in(self, call: Call) -> Reply:
        """Answer `login.icc`.

        Raises:
            LibraryError: the password is wrong, or was guessed too often.
        """
        name = call.parameters.text("userName", NAME_MAX)
        password = call.parameters.text("password", PASSWORD_MAX)
        self._check_rate(name, call.address)
        with call.service.store.reading() as view:
            found = view.library.user_named(name)
        if not is_right(password, found[1].password if found else None) or found is None:
            raise LibraryError(WRONG_PASSWORD)
        self._attempts.forgive(_pair(name, call.address), _user(name), call.address)
        return self._begin(found[0], call)

    def _begin(self, number: int, call: Call) -> Reply:
        settings, token = call.service.settings, secrets.token_urlsafe(_TOKEN_BYTES)
        timeout_us = round(settings.online_seconds * SECOND_US)
        job = library_users.log_in(
            number, digest(token), call.address, timeout_us, settings.online_max
        )
        user = call.service.store.change(job, FACE)
        if user is None:
            raise LibraryError(WRONG_PASSWORD)
        cookie = f"{COOKIE}={token}; HttpOnly; Path=/; SameSite=Strict"
        return Reply(user_info(number, user), fields=(("set-cookie", cookie),))

    def log_out(self, call: Call) -> Reply:
        """Answer `logout.icc`, also when nobody is logged in."""
        if call.who is not None:
            call.service.store.change(library_users.log_out(call.who.token), call.who.author)
        cookie = f"{COOKIE}=; HttpOnly; Path=/; SameSite=Strict; Max-Age=0"
        return Reply("", fields=(("set-cookie", cookie),))

    def _check_rate(self, name: str, address: str) -> None:
        wait = self._attempts.take((_pair(name, address), 10), (address, 30), (_user(name), 100))
        if wait:
            fields = (("retry-after", str(math.ceil(wait))),)
            raise LibraryError(WRONG_PASSWORD, _TOO_MANY, fields)

    def _extend(self, session: Session) -> None:
        timeout_us = round(self._service.settings.online_seconds * SECOND_US)
        expires_us = self._service.now_us + timeout_us
        if expires_us - session.expires_us > timeout_us * _EXTEND_AFTER:
            self._service.store.change(library_users.extend(session.token, expires_us), FACE)


def digest(token: str) -> bytes:
    """Return what is stored of a token or a share key."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def get_help(call: Call) -> Reply:
    """Answer `helpInfo.icc`."""
    kind, who = call.parameters.integer("type"), call.known
    if kind == _OF_USER:
        return Reply(help_info(who.user.help))
    with call.reading() as reading:
        found = reading.library.note(_node(reading, call, kind, write=False))
    return Reply(help_info(found[1].help if found else Help()))


def update_help(call: Call) -> Reply:
    """Answer `updateHelpInfo.icc`."""
    kind, who = call.parameters.integer("type"), call.known
    if "helpInt" not in call.parameters and "helpText" not in call.parameters:
        raise LibraryError(BAD_PARAMETER)
    if kind == _OF_USER:
        call.service.store.change(lambda change: _help_of_user(change, call), who.author)
        return Reply()
    with call.reading() as reading:
        number = _node(reading, call, kind, write=True)
    call.service.store.change(lambda change: _help_of_node(change, number, call), who.author)
    return Reply()


def changed_help(before: Help, parameters: Parameters, now_us: int) -> Help:
    """Return what clients store for themselves, as a request changes it."""
    given: Json = {}
    if "helpInt" in parameters:
        given["number"] = parameters.optional_integer("helpInt")
    if "helpText" in parameters:
        given["text"] = parameters.optional_text("helpText", HELP_MAX)
    return msgspec.structs.replace(before, **given, changed_us=now_us) if given else before


def _node(reading: Reading, call: Call, kind: int, *, write: bool) -> int:
    """Return the number of the catalog or file that a request is about."""
    number = call.parameters.integer("id")
    if kind == _OF_CATALOG:
        return reading.catalog(number, write=write).number
    if kind == _OF_FILE:
        return reading.file(number, write=write).number
    raise LibraryError(BAD_PARAMETER)


def _help_of_user(change: Change, call: Call) -> None:
    user = change.library.user(call.known.number)
    if user is None:
        raise LibraryError(NOT_LOGGED_IN)
    found = changed_help(user.help, call.parameters, change.now_us)
    change.put(msgspec.structs.replace(user, help=found), call.known.number)


def _help_of_node(change: Change, node: int, call: Call) -> None:
    number, note = change.library.note(node) or (0, Note(node))
    found = changed_help(note.help, call.parameters, change.now_us)
    change.put(msgspec.structs.replace(note, help=found, changed_us=change.now_us), number)


def _token(cookies: str) -> str:
    for pair in cookies.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""


def _pair(name: str, address: str) -> str:
    return f"{_user(name)}@{address}"


def _user(name: str) -> str:
    return f"user {name.casefold()}"
