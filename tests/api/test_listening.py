"""Whether an address is free shows before anything else is begun."""

import errno
import socket

import pytest

from api.listening import Bound, ListenError


def port_of(bound: Bound) -> int:
    port: int = bound.sockets[0].getsockname()[1]
    return port


def test_an_address_is_taken_but_nobody_listens_there_yet() -> None:
    with Bound("127.0.0.1", 0) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(bound)), timeout=5)


def test_a_port_where_someone_listens_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ListenError) as caught:
        Bound("127.0.0.1", other.getsockname()[1])
    assert caught.value.is_taken


def test_an_address_is_given_back() -> None:
    with Bound("127.0.0.1", 0) as bound:
        port = port_of(bound)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_name_may_stand_for_several_addresses() -> None:
    with Bound("localhost", 0) as bound:
        found = {each.getsockname()[0] for each in bound.sockets}
    assert found <= {"127.0.0.1", "::1"}
    assert found


def test_no_host_is_every_address() -> None:
    with Bound("", 0) as bound:
        found = {each.getsockname()[0] for each in bound.sockets}
    assert "0.0.0.0" in found  # noqa: S104 - compared, not listened on


def test_of_several_addresses_those_that_the_machine_lacks_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo("127.0.0.1", 0, type=socket.SOCK_STREAM)
    foreign = socket.getaddrinfo("192.0.2.1", 0, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: foreign + real)
    with Bound("name", 0) as bound:
        assert [each.getsockname()[0] for each in bound.sockets] == ["127.0.0.1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: foreign)
    with pytest.raises(ListenError, match="this machine has no such address"):
        Bound("name", 0)


def test_when_one_of_several_is_taken_none_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        both = [
            *socket.getaddrinfo("127.0.0.2", port, type=socket.SOCK_STREAM),
            *socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
        with pytest.raises(ListenError) as caught:
            Bound("name", port)
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EADDRINUSE
        monkeypatch.undo()
        with socket.create_server(("127.0.0.2", port)):
            pass
