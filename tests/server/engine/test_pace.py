"""Predictions of waits. Budgets are tested with the plans that they shape."""

import pytest
from msgspec import structs

from weft.server.channel import Beams
from weft.server.engine.pace import LEARNED_STEPS, Pace
from weft.server.engine.step_time import StepTime

from .plans import BLOCK_TOKENS, LIMITS, PRICES, sequence

STEP_S = 0.010


def make_pace(*, num_steps: int = LEARNED_STEPS) -> Pace:
    """A pace for steps of 10 ms whatever is in them; LIMITS give a step 16 tokens."""
    step_time = StepTime(PRICES)
    for i in range(num_steps):
        step_time.observe(1 + i % 16, 10 * i % 70, STEP_S)
    return Pace(LIMITS, step_time, block_tokens=BLOCK_TOKENS)


@pytest.mark.parametrize(
    ("ahead", "own", "steps"), [(0, 16, 1), (0, 17, 2), (16, 16, 2), (64, 15, 5)]
)
def test_prompts_take_their_steps(ahead: int, own: int, steps: int) -> None:
    wait_s = make_pace(num_steps=300).least_wait_s(ahead=ahead, own=own, running=[])
    assert wait_s == pytest.approx(steps * STEP_S, rel=0.2)


def test_decodes_leave_less_of_a_step_to_prompts() -> None:
    decodes = [sequence(number, tokens=[1]) for number in range(8)]
    wait_s = make_pace(num_steps=300).least_wait_s(ahead=0, own=16, running=decodes)
    assert wait_s == pytest.approx(2 * STEP_S, rel=0.2)


def test_beams_decode_as_many_rows() -> None:
    beams = sequence(1, tokens=[1])
    beams.request = structs.replace(beams.request, beams=Beams(8))
    wait_s = make_pace(num_steps=300).least_wait_s(ahead=0, own=15, running=[beams])
    assert wait_s == pytest.approx(2 * STEP_S, rel=0.2)


def test_nothing_is_predicted_from_a_few_steps() -> None:
    assert make_pace(num_steps=LEARNED_STEPS - 1).least_wait_s(ahead=999, own=9, running=[]) == 0
    assert make_pace().least_wait_s(ahead=999, own=9, running=[]) > 0


def test_cached_prompts_shorten_the_queue_and_not_the_newcomer() -> None:
    pace = make_pace(num_steps=300)
    before_s = pace.least_wait_s(ahead=160, own=16, running=[])
    for _ in range(200):
        pace.admitted(num_tokens=10, num_cached=9)
    after_s = pace.least_wait_s(ahead=160, own=16, running=[])
    assert after_s == pytest.approx(before_s * 2 / 11, rel=0.2)
