"""Who may use the filesystem over HTTP, and whether that is safe where it listens."""

import ipaddress

from api.credentials import Secrets
from tools.config import Config
from tools.errors import OperatorError


def check_open(config: Config) -> None:
    """Refuse to let the whole network change files by mistake.

    Raises:
        OperatorError: anyone could.
    """
    given = config.spockfs
    if given.insecure or users(config) is not None or _is_local(given.host):
        return
    raise OperatorError(
        f"spockfs.host: anyone who reaches {given.host or 'this machine'} could change files; "
        "set spockfs.users, or spockfs.insecure: true if that is meant"
    )


def users(config: Config) -> Secrets | None:
    """Return the passwords, or None when anyone may use it.

    Whoever wants a token for the feed would not leave the files open to all.
    """
    given = config.spockfs
    if given.users or given.read_users:
        return Secrets(given.users or {}, given.read_users or {})
    return None if config.token is None else Secrets({"": config.token}, {})


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
