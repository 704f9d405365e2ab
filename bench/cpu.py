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
from .options import EngineOptions, OpenAiServer
from .peers.hf_peft import NAME as HF_PEFT
from .peers.openai import NAME as OPENAI
from .peers.peer import WEFT_GRPC
from .peers.vllm_cpu import NAME as VLLM
from .record import Ratio
from .shapes import SHAPES
from .suite import Suite

RANKS = (8, 16, 32, 64)
RANK_16 = 1  # its place among the adapters
NUM_ROUNDS = 3


def cpu_suite(options: EngineOptions, *, small: bool) -> Suite:
    """The set-up of goal P6, or a tiny one that judges nothing."""
    return Suite(
        name="cpu-small" if small else "cpu",
        options=options,
        heats=_heats(options, 1 if small else NUM_ROUNDS),
        figures=("rate",),
        judge=_judge_nothing if small else judge,
    )


def cpu_options(
    *,
    small: bool,
    vllm_python: Path | None = None,
    openai: OpenAiServer | None = None,
    weft_address: str | None = None,
) -> EngineOptions:
    """What runs; a server is a peer where one is named, and so is vLLM, which else is a gap."""
    shape = SHAPES["tiny" if small else "82m"]
    servers = ((OPENAI, openai), (WEFT_GRPC, weft_address))
    return EngineOptions(
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
        peers=(HF_PEFT, VLLM, *(name for name, server in servers if server is not None)),
        vllm_python=vllm_python,
        openai=openai,
        weft_address=weft_address,
    )


def _heats(options: EngineOptions, num_rounds: int) -> list[Heat]:
    """The goal's batches in all rounds; then one round of others, which vLLM takes minutes for."""
    batch = options.batch
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
    for server in (OPENAI, WEFT_GRPC):
        if server in options.peers:
            goal += [Entry(server, base), Entry(server, mixed)]
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
