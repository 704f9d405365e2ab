"""When goal P6 is met."""

import pytest

from weft.bench.goals import Verdict, judge_p6, judge_p6_stretch


@pytest.mark.parametrize(
    ("mixed", "base", "met"),
    [(2.2, 1.0, True), (2.19, 1.5, False), (3.0, 0.99, False), (1.0, 0.5, False)],
)
def test_p6_needs_both_halves(mixed: float, base: float, met: bool) -> None:
    verdict = judge_p6(mixed_to_peer=mixed, base_to_peer=base)
    assert verdict.met is met
    assert str(verdict).startswith("P6: met" if met else "P6: missed")


def test_p6_line_gives_the_margins() -> None:
    line = str(judge_p6(mixed_to_peer=2.614, base_to_peer=1.1))
    assert line == "P6: met  mixed 2.61 x HF + PEFT's (goal 2.2), base 1.10 x HF's (goal 1)"


def test_p6_stretch_is_missed_below_the_share_of_the_own_base() -> None:
    assert str(judge_p6_stretch(mixed_to_base=0.84, base_to_vllm=None)).startswith(
        "P6 stretch: missed"
    )


def test_p6_stretch_is_not_met_without_vllm() -> None:
    verdict = judge_p6_stretch(mixed_to_base=0.9, base_to_vllm=None)
    assert verdict.met is None
    assert "vLLM did not run" in str(verdict)


def test_goal_that_was_not_judged_says_so() -> None:
    assert str(Verdict("P6", None, "another shape")) == "P6: not judged  another shape"


@pytest.mark.parametrize(
    ("mixed", "base", "met"), [(0.85, 1.0, True), (0.84, 2.0, False), (0.9, 0.99, False)]
)
def test_p6_stretch_needs_both_halves(mixed: float, base: float, met: bool) -> None:
    assert judge_p6_stretch(mixed_to_base=mixed, base_to_vllm=base).met is met


def test_p6_is_not_judged_without_the_peer() -> None:
    assert judge_p6(mixed_to_peer=None, base_to_peer=None).met is None
