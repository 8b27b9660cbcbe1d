"""Which connection gives way, and how the flow of an answer is judged."""

from api.connections import Connections
from api.limits import Limits
from api.outflow import Outflow

LIMITS = Limits(receive_seconds=20, progress_bytes_min=100, unsent_bytes_max=1000)


class _Connection:
    def __init__(
        self, address: str = "a", *, waits: bool = True, served: int = 0, unsent: int = 0
    ) -> None:
        self.address = address
        self.is_waiting = waits
        self.served = served
        self.outflow = Outflow(LIMITS, 0.0)
        self.outflow.unsent = unsent
        self.gone = False
        self.checked: list[float] = []

    def give_way(self) -> None:
        self.gone = True

    def check(self, now: float) -> None:
        self.checked.append(now)


def test_the_oldest_that_never_asked_gives_way_first() -> None:
    places = Connections(Limits(address_connections_max=3))
    used, first, second = _Connection(served=1), _Connection(), _Connection()
    for connection in (used, first, second):
        assert places.admit(connection)
    for _ in range(2):
        assert places.admit(_Connection(waits=False))
    assert (used.gone, first.gone, second.gone) == (False, True, True)
    assert places.admit(_Connection(waits=False))
    assert used.gone
    assert not places.admit(_Connection())
    assert len(places) == 3


def test_addresses_do_not_share_their_places() -> None:
    places = Connections(Limits(address_connections_max=1))
    assert places.admit(_Connection("a", waits=False))
    assert places.admit(_Connection("b", waits=False))
    assert not places.admit(_Connection("a"))


def test_a_place_is_free_again_when_its_connection_is_gone() -> None:
    places = Connections(Limits(connections_max=1))
    connection = _Connection(waits=False)
    assert places.admit(connection)
    assert not places.admit(_Connection())
    places.discard(connection)
    places.discard(connection)
    assert places.admit(_Connection())


def test_descriptors_are_left_for_others() -> None:
    assert 0 < Connections(Limits(connections_max=10**9)).room < 10**9


def test_everybody_is_checked() -> None:
    places = Connections(LIMITS)
    connection = _Connection()
    places.admit(connection)
    places.check(5.0)
    assert connection.checked == [5.0]


def test_who_has_stood_longest_gives_way_when_answers_fill_the_memory() -> None:
    places = Connections(LIMITS)
    slow, idle, slower, brisk = (_Connection(unsent=n) for n in (600, 0, 600, 600))
    for connection, since in ((slow, 2.0), (idle, 0.0), (slower, 1.0), (brisk, 3.0)):
        connection.outflow.since = since
        places.admit(connection)
    places.relieve()
    assert [each.gone for each in (slow, idle, slower, brisk)] == [True, False, True, False]


def test_a_client_that_takes_nothing_is_stuck() -> None:
    flow = Outflow(LIMITS, 0.0)
    assert [flow.is_stuck(500, now) for now in (1.0, 10.0, 19.9, 20.0)] == [
        False, False, False, True
    ]  # fmt: skip


def test_a_client_that_takes_crumbs_is_stuck() -> None:
    flow = Outflow(LIMITS, 0.0)
    assert [flow.is_stuck(500 - now, float(now)) for now in range(0, 25, 5)] == [
        False, False, False, False, True
    ]  # fmt: skip


def test_a_client_that_takes_enough_is_not_stuck() -> None:
    flow = Outflow(LIMITS, 0.0)
    assert not any(flow.is_stuck(5000 - 100 * n, 15.0 * n) for n in range(40))


def test_a_client_that_takes_as_much_as_is_written_is_not_stuck() -> None:
    flow = Outflow(LIMITS, 0.0)
    for now in range(0, 200, 10):
        assert not flow.is_stuck(500, float(now))
        flow.progress(float(now))


def test_what_is_added_does_not_count_as_taken() -> None:
    flow = Outflow(LIMITS, 0.0)
    assert [flow.is_stuck(n, now) for n, now in ((10, 1.0), (500, 10.0), (450, 21.0))] == [
        False, False, True
    ]  # fmt: skip
