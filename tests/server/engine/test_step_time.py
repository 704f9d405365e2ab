"""What steps that ran say of the next."""

import random
from collections.abc import Iterator

import pytest

from weft.server.engine.step_time import StepTime

from .plans import PRICES

C0, C1, C2 = 0.004, 20e-6, 0.05e-6


def seconds_of(num_tokens: int, kv_tokens: int) -> float:
    return C0 + C1 * num_tokens + C2 * kv_tokens


def mixed_steps(num: int) -> Iterator[tuple[int, int]]:
    """Decodes, and every fourth time a prompt's chunk with them."""
    draw = random.Random(0)
    for i in range(num):
        rows = draw.randint(1, 128)
        chunk = draw.randint(64, 2048) if i % 4 == 0 else 0
        yield rows + chunk, rows * draw.randint(100, 4000) + chunk


def learned(*, noise: float = 0.0) -> StepTime:
    draw = random.Random(1)
    step_time = StepTime(PRICES)
    for num_tokens, kv_tokens in mixed_steps(300):
        factor = 1 + draw.uniform(-noise, noise)
        step_time.observe(num_tokens, kv_tokens, factor * seconds_of(num_tokens, kv_tokens))
    return step_time


@pytest.mark.parametrize(("noise", "tolerance"), [(0.0, 0.03), (0.1, 0.06)])
def test_steps_of_any_kind_are_predicted(noise: float, tolerance: float) -> None:
    step_time = learned(noise=noise)
    for shape in [(1, 500), (64, 100_000), (1024, 1024), (2112, 200_000)]:
        assert step_time.predict_s(*shape) == pytest.approx(seconds_of(*shape), rel=tolerance)


def test_before_any_step_the_prices_speak() -> None:
    step_time = StepTime(PRICES)
    expected_us = 100 * PRICES.prefill_us + 1000 * PRICES.kv_us
    assert step_time.predict_s(100, 1000) == pytest.approx(expected_us / 1e6)


def test_tokens_within_a_time_are_those_whose_prediction_is_that_time() -> None:
    step_time = learned()
    num = step_time.tokens_within(0.030, kv_tokens=50_000)
    assert step_time.predict_s(num, 50_000) <= 0.030 < step_time.predict_s(num + 1, 50_000)
    assert step_time.tokens_within(0.001, kv_tokens=50_000) == 0


def test_a_single_outlier_is_soon_forgotten() -> None:
    step_time = learned()
    before = step_time.predict_s(64, 100_000)
    step_time.observe(64, 100_000, 1000.0)
    assert step_time.predict_s(64, 100_000) < 1.3 * before


def test_it_follows_a_device_that_has_become_slower() -> None:
    step_time = learned()
    for num_tokens, kv_tokens in mixed_steps(300):
        step_time.observe(num_tokens, kv_tokens, 3 * seconds_of(num_tokens, kv_tokens))
    assert step_time.predict_s(1024, 1024) == pytest.approx(3 * seconds_of(1024, 1024), rel=0.1)


def test_steps_all_alike_leave_no_negative_price() -> None:
    step_time = StepTime(PRICES)
    for i in range(200):
        step_time.observe(8, 800 + i, 0.010 - 1e-6 * i)
    assert step_time.predict_s(8, 1000) == pytest.approx(0.010, rel=0.05)
    for more in [(9, 1000), (8, 10_000), (500, 1000)]:
        assert step_time.predict_s(*more) >= step_time.predict_s(8, 1000)
