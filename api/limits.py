"""What one client may cost the server."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the HTTP server.

    Attributes:
        receive_seconds: the longest that the head of a request may take, from the opening of the
            connection or its first byte; also the longest without progress while a body is
            received or an answer is sent.
        keep_alive_seconds: how long a connection may idle after an answer; longer than clients
            keep theirs, so that none sends a request into a connection that is being closed.
        progress_bytes_min: what moves fewer bytes in `receive_seconds` makes no progress.
        header_bytes_max: request line and header fields together.
        pipeline_max: requests that one connection may have waiting.
        address_connections_max: open connections of one IP address.
        connections_max: open connections of all.
        unsent_bytes_max: answers that may wait in memory for slow clients, all together.
        stop_seconds: how long running requests may go on when the server stops.
    """

    receive_seconds: float = 20.0
    keep_alive_seconds: float = 75.0
    progress_bytes_min: int = 16 * 2**10
    header_bytes_max: int = 32 * 2**10
    pipeline_max: int = 64
    address_connections_max: int = 256
    connections_max: int = 1_000
    unsent_bytes_max: int = 32 * 2**20
    stop_seconds: float = 1.0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How clients that wait for changes are served.

    Attributes:
        streams_max: how many streams and waiting long polls there may be; more get 503. Fewer
            than there may be connections, so that those who wait leave room for those who ask.
        heartbeat_seconds: the longest silence of a stream. Proxies cut what is silent for a
            minute, some for half of one.
    """

    streams_max: int = 500
    heartbeat_seconds: float = 15.0
