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


def test_loop_that_beats_is_left_alone() -> None:
    stalled = threading.Event()
    watchdog = Watchdog(60, on_stall=stalled.set)
    watchdog.close()
    assert not stalled.is_set()


def test_beat_ends_the_silence() -> None:
    watchdog = Watchdog(60)
    before = time.monotonic()
    while watchdog.silent_s < 0.01:
        pass
    watchdog.beat()
    assert watchdog.silent_s < time.monotonic() - before
    watchdog.close()
