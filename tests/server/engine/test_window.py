"""When admissions that gather may begin."""

from weft.server.config import SchedulingConfig
from weft.server.engine.window import Window, make_window

from .plans import sequence

WINDOW = Window(seconds=0.5, tokens=10)
FIRST, SECOND = sequence(0, submitted_at=7.0), sequence(1, submitted_at=7.2)


def test_the_first_to_come_sets_the_end() -> None:
    assert WINDOW.opens_at([SECOND, FIRST], now=7.3, wait_s=0.0) == 7.5


def test_enough_tokens_end_it() -> None:
    many = sequence(2, submitted_at=7.3, tokens=range(4))
    assert WINDOW.opens_at([FIRST, SECOND, many], now=7.3, wait_s=0.0) == 7.3


def test_what_takes_until_the_deadline_begins_before_it() -> None:
    hurried = sequence(3, submitted_at=7.0, deadline=7.45)
    assert WINDOW.opens_at([SECOND, hurried], now=7.3, wait_s=0.25) == 7.2


def test_a_steps_tokens_are_enough_unless_said_otherwise() -> None:
    assert make_window(SchedulingConfig(), tokens=64) is None
    assert make_window(SchedulingConfig(window_ms=20), tokens=64) == Window(0.02, 64)
    assert make_window(SchedulingConfig(window_ms=20, window_tokens=8), tokens=64) == Window(
        0.02, 8
    )
