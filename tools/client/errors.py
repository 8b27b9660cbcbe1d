"""What can go wrong for a client of the feed. Each message is one line, made for people."""


class ClientError(Exception):
    """Whatever a client of the feed cannot do."""


class UnavailableError(ClientError):
    """The server does not answer now, but may later.

    Attributes:
        status: of HTTP; 0 when there was no answer.
        wait_seconds: how long it asked to wait; 0 when it said nothing.
    """

    def __init__(self, text: str, status: int = 0, wait_seconds: float = 0) -> None:
        super().__init__(text)
        self.status = status
        self.wait_seconds = wait_seconds


class RefusedError(ClientError):
    """The server understood and says no; asking again does not help.

    Attributes:
        status: of HTTP; 0 when nothing could be asked.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class ProtocolError(ClientError):
    """What answers is no feed, or breaks its contract."""


class StateError(ClientError):
    """The file that keeps what a client knows cannot be used."""
