"""The goals that `weft bench kernels` judges; they are stated for an H200 and the core cells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import geometric_mean

from .goals import Verdict
from .lora_case import BASE_GEMM
from .lora_cells import P1_CELL, core_cells
from .record import Cell, Ratio, Value
from .trials import COLD, OURS

P1_FLOOR = 2.0
P1_SPEED_UP = 1.5
DECODE_SHARE, DECODE_CASE = 0.85, "attention_decode 32 x 4096"
PREFILL_SHARE, PREFILL_CASE = 0.60, "attention_prefill 1 x 8192"
AS_SERVED = "as served"
"""How contenders are named that are not at their best: goals are not judged by these."""
HOME_MADE = ("loop", "bmm")
"""Peers that are nobody's kernels: to be faster than these alone proves nothing."""


def judge_kernels(
    cells: Sequence[Cell], ratios: Sequence[Ratio], *, hardware: Mapping[str, Value]
) -> list[Verdict]:
    """A verdict for every goal; on another GPU none is met or missed."""
    ours = {cell.case: cell for cell in cells if (cell.contender, cell.figure) == (OURS, COLD)}
    verdicts = [
        _judge_floor(ours.get(str(P1_CELL))),
        _judge_peers(ratios_to_peers(ratios)),
        _judge_share("attention decode", ours.get(DECODE_CASE), DECODE_SHARE, "copy bandwidth"),
        _judge_share("attention prefill", ours.get(PREFILL_CASE), PREFILL_SHARE, "matmul rate"),
    ]
    if "H200" in str(hardware.get("gpu", "H200")):
        return verdicts
    return [
        replace(verdict, met=None, margin=f"{verdict.margin}; stated for an H200")
        for verdict in verdicts
    ]


def ratios_to_peers(ratios: Sequence[Ratio]) -> dict[str, dict[str, float]]:
    """By cell of LoRA and peer: its time over ours."""
    found: dict[str, dict[str, float]] = {}
    names = {str(cell) for cell in core_cells()}
    for ratio in ratios:
        is_peer = not ratio.above.startswith(OURS) and ratio.above != BASE_GEMM
        is_peer &= not ratio.above.endswith(AS_SERVED)
        if is_peer and (ratio.below, ratio.figure) == (OURS, COLD) and ratio.case in names:
            found.setdefault(ratio.case, {})[ratio.above] = ratio.median
    return found


def _judge_floor(cell: Cell | None) -> Verdict:
    goal = "P1 floor"
    if cell is None or cell.over_floor is None:
        return Verdict(goal, None, f"{P1_CELL} was not timed")
    margin = f"{cell.median:.1f} µs, {cell.over_floor:.2f} x the floor (goal {P1_FLOOR:g})"
    return Verdict(goal, cell.over_floor <= P1_FLOOR, margin)


def _judge_peers(peers: Mapping[str, Mapping[str, float]]) -> Verdict:
    """The best peer of every core cell over us: all above 1, and their geometric mean high."""
    goal, num_core = "P1 peers", sum(1 for _ in core_cells())
    best = {case: min(of.values()) for case, of in peers.items() if of.keys() - {*HOME_MADE}}
    if not best:
        return Verdict(goal, None, "no peer's kernels were timed")
    mean, worst = geometric_mean(best.values()), min(best, key=lambda case: best[case])
    margin = (
        f"the best peer takes {mean:.2f} x our time (goal {P1_SPEED_UP:g}), "
        f"at worst {best[worst]:.2f} x (goal 1; {worst}), in {len(best)} of {num_core} core cells"
    )
    if best[worst] <= 1:
        return Verdict(goal, False, margin)
    return Verdict(goal, mean >= P1_SPEED_UP if len(best) == num_core else None, margin)


def _judge_share(name: str, cell: Cell | None, goal: float, of: str) -> Verdict:
    if cell is None or cell.over_floor is None:
        return Verdict(name, None, "was not timed")
    share = 1 / cell.over_floor
    return Verdict(name, share >= goal, f"{share:.0%} of the {of} (goal {goal:.0%})")
