"""The suite `cpu`: a mixed batch beside HF + PEFT and vLLM's CPU build, and goal P6.

The set-up is fixed, so that goal P6 means one thing; `small` is a tiny one that judges nothing.
"""

from collections.abc import Sequence
from pathlib import Path

from .cases import (
    BASE,
    MIXED,
    WEFT,
    Entry,
    Heat,
    base_case,
    distinct_case,
    halved_case,
    mixed_case,
    shared_case,
)
from .goals import Verdict, judge_p6, judge_p6_stretch
from .options import EngineOptions
from .peers.hf_peft import NAME as HF_PEFT
from .peers.vllm_cpu import NAME as VLLM
from .record import Ratio
from .shapes import SHAPES
from .suite import Suite

RANKS = (8, 16, 32, 64)
RANK_16 = 1  # its place among the adapters
NUM_ROUNDS = 3


def cpu_suite(*, small: bool, vllm_python: Path | None) -> Suite:
    """The set-up of goal P6, or a tiny one."""
    shape = SHAPES["tiny" if small else "82m"]
    options = EngineOptions(
        shape=shape,
        device="cpu",
        dtype="bfloat16",
        num_adapters=shape.batch,
        ranks=RANKS,
        batch=shape.batch,
        prompt_tokens=shape.prompt_tokens,
        new_tokens=shape.new_tokens,
        threads=1 if small else 2,
        seed=0,
        peers=(HF_PEFT, VLLM),
        vllm_python=vllm_python,
    )
    return Suite(
        name="cpu-small" if small else "cpu",
        options=options,
        heats=_heats(options.batch, 1 if small else NUM_ROUNDS),
        figures=("rate",),
        judge=_judge_nothing if small else judge,
    )


def _heats(batch: int, num_rounds: int) -> list[Heat]:
    """The goal's batches in all rounds; then one round of others, which vLLM takes minutes for."""
    base, mixed = base_case(batch), mixed_case(batch, batch // 2)
    others = [shared_case(batch, RANK_16), halved_case(batch), distinct_case(batch)]
    goal = [
        Entry(WEFT, base),
        Entry(WEFT, mixed),
        Entry(VLLM, mixed),
        Entry(HF_PEFT, mixed),
        Entry(HF_PEFT, base),
        Entry(VLLM, base),
    ]
    beside = [Entry(WEFT, base), *(Entry(WEFT, case) for case in others)]
    beside += [Entry(HF_PEFT, case) for case in others]
    return [Heat(goal, num_rounds), Heat(beside, 1)]


def judge(ratios: Sequence[Ratio]) -> list[Verdict]:
    """Goal P6 and its stretch; what needs a peer that did not run is not judged."""
    found = {(r.above, r.below): r.median for r in ratios if r.figure == "rate"}
    mixed, base = f"{WEFT} {MIXED}", f"{WEFT} {BASE}"
    if (mixed, base) not in found:
        return [Verdict("P6", None, "results are wrong"), Verdict("P6 stretch", None, "nor this")]
    return [
        judge_p6(
            mixed_to_peer=found.get((mixed, f"{HF_PEFT} {MIXED}")),
            base_to_peer=found.get((base, f"{HF_PEFT} {BASE}")),
        ),
        judge_p6_stretch(
            mixed_to_base=found[mixed, base], base_to_vllm=found.get((base, f"{VLLM} {BASE}"))
        ),
    ]


def _judge_nothing(_: Sequence[Ratio]) -> list[Verdict]:
    return [Verdict("P6", None, "it is stated for the 82m shape")]
