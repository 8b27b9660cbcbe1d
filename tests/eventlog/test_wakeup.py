"""The wake-up: everyone who asked is called."""

import logging
import threading

import pytest

from eventlog.log import Log
from eventlog.wakeup import Wakeup
from tests.eventlog.helpers import DEADLINE_SECONDS, files


def test_callbacks_are_called_until_they_are_unsubscribed() -> None:
    wakeup, calls = Wakeup(), list[str]()
    leave = wakeup.subscribe(lambda: calls.append("a"))
    wakeup.subscribe(lambda: calls.append("b"))
    wakeup.notify()
    leave()
    wakeup.notify()
    assert calls == ["a", "b", "b"]
    assert wakeup.count() == 2


def test_a_callback_may_unsubscribe_itself() -> None:
    wakeup, calls = Wakeup(), list[str]()

    def once() -> None:
        calls.append("once")
        leave()

    leave = wakeup.subscribe(once)
    wakeup.notify()
    wakeup.notify()
    assert calls == ["once"]


def test_a_callback_that_fails_stops_neither_the_others_nor_the_writer(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    woken = threading.Event()

    def fail() -> None:
        raise RuntimeError("Event loop is closed")

    log.wakeup.subscribe(fail)
    log.wakeup.subscribe(woken.set)
    with caplog.at_level(logging.ERROR):
        assert log.append(files(1)) == 1
        assert woken.wait(DEADLINE_SECONDS)
    assert "a sleeper could not be woken" in caplog.text
    assert log.append(files(1)) == 2


def test_the_head_is_new_when_the_callback_is_called(log: Log) -> None:
    heads: list[int] = []
    log.wakeup.subscribe(lambda: heads.append(log.head))
    log.append(files(2))
    log.append([])
    log.append(files(1))
    log.close()
    assert heads == [2, 3]
