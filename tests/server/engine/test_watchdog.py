"""The watchdog barks at silence, and only then."""

import threading
import time

import pytest

from weft.server.engine.watchdog import Watchdog


def test_silence_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    stalled = threading.Event()
    watchdog = Watchdog(0.05, on_stall=stalled.set)
    assert stalled.wait(10)
    watchdog.close()
    assert "the limit is 0 s" in caplog.text


def test_beating_loop_is_left_alone() -> None:
    stalled = threading.Event()
    watchdog = Watchdog(5, on_stall=stalled.set)
    until = time.monotonic() + 0.05
    while time.monotonic() < until:
        watchdog.beat()
    watchdog.close()
    assert not stalled.is_set()


def test_beat_puts_the_end_off() -> None:
    stalled = threading.Event()
    started = time.monotonic()
    watchdog = Watchdog(0.3, on_stall=stalled.set)
    while time.monotonic() < started + 0.6:
        watchdog.beat()
        assert not stalled.is_set()
    assert stalled.wait(10)
    assert time.monotonic() > started + 0.9
    watchdog.close()
