"""Bisection for the knee."""

import pytest

from weft.bench.serving.rate import bisect


@pytest.mark.parametrize("knee", [3.0, 7.7, 19.0])
def test_bisection_ends_within_three_percent_below_the_knee(knee: float) -> None:
    found = bisect(lambda rate: rate <= knee, high=20)
    assert knee / 1.03 <= found <= knee
