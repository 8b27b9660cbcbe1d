from watcher.metadata.brake import Brake


class Time:
    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.seconds += seconds


def test_reading_takes_as_long_as_it_should() -> None:
    time = Time()
    brake = Brake(1000, time.now, time.wait)
    for _ in range(100):
        brake.hold(50)
    assert 104.9 < time.seconds <= 105.0


def test_time_that_passed_without_reading_is_not_saved_up() -> None:
    time = Time()
    brake = Brake(1000, time.now, time.wait)
    time.seconds += 1000
    brake.hold(2000)
    assert time.seconds == 1102.0


def test_without_a_rate_nothing_is_held() -> None:
    time = Time()
    Brake(0, time.now, time.wait).hold(1 << 40)
    assert time.seconds == 100.0
