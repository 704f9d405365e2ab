"""The suite `engine`: one engine in this process, its results checked, then timed beside peers."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import torch

from .bed import EXTRA_BASE_ROWS, Bed, digests_of, make_bed, make_requests
from .ceilings import measure_ceilings
from .checks import (
    ALTERNATIVES,
    Agreement,
    Deltas,
    check_deltas,
    compare_answers,
    near_tie,
)
from .contest import Contender, Rounds, hold_rounds
from .driver import Answer, Request
from .floors import Ceilings
from .goals import Verdict, judge_p6, judge_p6_stretch
from .machine import Source, find_hardware, find_versions, load_average
from .options import EngineOptions
from .peers.hf_peft import NAME as HF_PEFT
from .peers.hf_peft import HfPeft
from .random_model import build_model
from .record import Cell, Check, Conditions, Loads, Ratio, Record, Value

BASE, MIXED = "weft base", "weft mixed"
HF_BASE, HF_MIXED = f"{HF_PEFT} base", f"{HF_PEFT} mixed"
UNITS = {
    "rate": "tokens/s",
    "prefill_rate": "tokens/s",
    "decode_rate": "tokens/s",
    "step_ms": "ms",
}
CHECK_PROMPT_TOKENS = 64
CHECK_NEW_TOKENS = 32

Say = Callable[[str], None]


def run_engine_suite(
    options: EngineOptions, folder: Path, *, command: str, source: Source, note: str, say: Say
) -> Record:
    """Run the suite; nothing is timed if a check fails.

    Args:
        folder: For the adapters; empty, of its caller.
        command: The command line, for the record.
        say: Takes a line whenever a part begins.

    Raises:
        BenchError: The engine failed, or a peer is not installed.
    """
    started, began, load = datetime.now(UTC), time.monotonic(), load_average()
    device = torch.device(options.device)
    torch.set_num_threads(options.threads)
    say("measuring the ceilings")
    ceilings = measure_ceilings(device, getattr(torch, options.dtype))
    say(f"building {options.shape.name} and {options.num_adapters} adapters")
    bed = make_bed(options, folder)
    with closing(bed.driver):
        peer = _make_peer(bed)
        say("checking results")
        checks, loads = check_results(bed, peer)
        say(f"running {options.rounds} rounds")
        rounds = time_if_right(checks, _contenders(bed, peer), options.rounds)
    ceilings = ceilings.best_of(measure_ceilings(device, bed.model.dtype))
    conditions = Conditions(
        command=command,
        source=source,
        seed=options.seed,
        started=started,
        seconds=time.monotonic() - began,
        note=note,
        load_average=(load, load_average()),
        hardware=find_hardware(device),
        versions=find_versions(),
        ceilings=ceilings,
    )
    ratios = list(_ratios(rounds))
    return Record(
        suite=f"engine-{options.shape.name}",
        conditions=conditions,
        parameters=_parameters(bed),
        checks=checks,
        cells=list(_cells(bed, rounds, ceilings)),
        ratios=ratios,
        loads=loads,
        verdicts=_judge(options, ratios),
    )


def time_if_right(
    checks: Sequence[Check], contenders: Sequence[Contender], num_rounds: int
) -> dict[str, Rounds]:
    """Time the contenders; nobody if results are wrong."""
    if not all(check.holds for check in checks):
        return {}
    return hold_rounds(contenders, num_rounds)


def check_results(bed: Bed, peer: HfPeft | None) -> tuple[list[Check], list[Loads]]:
    """Run every request alone, all together and at the peer, and every site by itself."""
    options = bed.options
    rows = [*bed.rows(mixed=True), *[None] * EXTRA_BASE_ROWS]
    prompts = bed.prompts(len(rows), min(options.prompt_tokens, CHECK_PROMPT_TOKENS))
    new_tokens = min(options.new_tokens, CHECK_NEW_TOKENS)
    requests = make_requests(prompts, digests_of(rows), new_tokens)
    alone, loads = run_alone(bed, requests)
    mixed = bed.driver.run(requests, logprobs=ALTERNATIVES)
    digests = [request.digest for request in requests]
    deltas = check_deltas(bed.driver.engine, bed.model, digests)
    limit = near_tie(bed.model, deltas)
    distinct = max(step.distinct_adapters for step in mixed.steps)
    agreement = compare_answers(mixed.answers, alone, limit=limit)
    checks = [
        _delta_check(deltas),
        _agreement_check(f"tokens of {distinct} adapters in one batch as alone", agreement),
    ]
    if peer is not None:
        answers = peer.answer(prompts, digests, new_tokens=new_tokens)
        agreement = compare_answers(mixed.answers, answers, limit=limit)
        checks.append(_agreement_check(f"tokens as {HF_PEFT}", agreement))
    return checks, loads


def run_alone(bed: Bed, requests: Sequence[Request]) -> tuple[list[Answer], list[Loads]]:
    """Give every request the engine for itself; the first one of an adapter loads it, alone."""
    loras = {lora.digest: lora for lora in bed.loras}
    answers: list[Answer] = []
    samples: dict[tuple[int, int], list[float]] = {}
    for request in requests:
        run = bed.driver.run([request], logprobs=ALTERNATIVES)
        answers += run.answers
        for load in run.loads:
            assert request.digest is not None
            lora = loras[request.digest]
            key = lora.rank, lora.num_elements * bed.model.dtype.itemsize
            samples.setdefault(key, []).append(1000 * load.seconds)
    return answers, [Loads(rank, size, times) for (rank, size), times in sorted(samples.items())]


def _make_peer(bed: Bed) -> HfPeft | None:
    options = bed.options
    if HF_PEFT not in options.peers:
        return None
    model = build_model(
        options.shape,
        seed=options.seed,
        device=bed.model.device,
        dtype=bed.model.dtype,
        attention="sdpa",
    )
    return HfPeft(model, bed.loras)


def _contenders(bed: Bed, peer: HfPeft | None) -> list[Contender]:
    contenders = [
        Contender(BASE, lambda: bed.time(mixed=False)),
        Contender(MIXED, lambda: bed.time(mixed=True)),
    ]
    if peer is None:
        return contenders
    new_tokens = bed.options.new_tokens
    prompts = bed.prompts(bed.options.batch, bed.options.prompt_tokens)
    base, mixed = (digests_of(bed.rows(mixed=mixed)) for mixed in (False, True))
    return [
        *contenders,
        Contender(HF_MIXED, lambda: peer.time(prompts, mixed, new_tokens=new_tokens)),
        Contender(HF_BASE, lambda: peer.time(prompts, base, new_tokens=new_tokens)),
    ]


def _delta_check(deltas: Deltas) -> Check:
    text = (
        f"worst error {deltas.error:.1e} of {deltas.tolerance:.0e} "
        f"over {deltas.num_sites} sites ({deltas.worst_site})"
    )
    values: dict[str, Value] = {
        "sites": deltas.num_sites,
        "error": _value(deltas.error),
        "tolerance": deltas.tolerance,
        "worst_site": deltas.worst_site,
        "logits_std": deltas.logits_std,
    }
    return Check("deltas by the definition", deltas.holds, text, values)


def _agreement_check(name: str, agreement: Agreement) -> Check:
    text = (
        f"{agreement.num_equal} of {agreement.num_requests} equal; "
        f"the others part at a lead of {agreement.gap:.2g}; "
        f"noise {agreement.noise:.2g}, limit {agreement.limit:.2g}"
    )
    values: dict[str, Value] = {
        "requests": agreement.num_requests,
        "equal": agreement.num_equal,
        "noise": _value(agreement.noise),
        "gap": _value(agreement.gap),
        "limit": agreement.limit,
    }
    return Check(name, agreement.holds, text, values)


def _value(number: float) -> Value:
    """JSON has no infinity."""
    return number if math.isfinite(number) else str(number)


def _cells(bed: Bed, rounds: dict[str, Rounds], ceilings: Ceilings) -> Iterator[Cell]:
    floors = {name: _floors(bed, ceilings, mixed=name == MIXED) for name in (BASE, MIXED)}
    for name, held in rounds.items():
        for figure, unit in UNITS.items():
            if samples := held.samples(figure):
                yield Cell(name, figure, unit, samples, floors.get(name, {}).get(figure))


def _floors(bed: Bed, ceilings: Ceilings, *, mixed: bool) -> dict[str, float]:
    """The best that the ceilings allow, by figure."""
    cost = bed.batch_cost(mixed=mixed)
    prefill_s, decode_s = cost.prefill().floor_s(ceilings), cost.decode_s(ceilings)
    return {
        "rate": cost.batch * cost.new_tokens / (prefill_s + decode_s),
        "prefill_rate": cost.batch * cost.prompt_tokens / prefill_s,
        "decode_rate": cost.batch * (cost.new_tokens - 1) / decode_s,
        "step_ms": 1000 * cost.middle_step_s(ceilings),
    }


def _ratios(rounds: dict[str, Rounds]) -> Iterator[Ratio]:
    pairs = [(MIXED, BASE, figure) for figure in UNITS]
    pairs += [(MIXED, HF_MIXED, "rate"), (BASE, HF_BASE, "rate"), (HF_MIXED, HF_BASE, "rate")]
    for above, below, figure in pairs:
        if above in rounds and below in rounds:
            yield Ratio(above, below, figure, rounds[above].ratios_to(rounds[below], figure))


def _judge(options: EngineOptions, ratios: Sequence[Ratio]) -> list[Verdict]:
    found = {(ratio.above, ratio.below): ratio.median for ratio in ratios if ratio.figure == "rate"}
    if (MIXED, HF_MIXED) not in found:
        return []
    if not options.is_p6:
        return [Verdict("P6", None, "it is stated for another batch, shape or machine")]
    return [
        judge_p6(mixed_to_peer=found[MIXED, HF_MIXED], base_to_peer=found[BASE, HF_BASE]),
        judge_p6_stretch(mixed_to_base=found[MIXED, BASE]),
    ]


def _parameters(bed: Bed) -> dict[str, Value]:
    options, limits = bed.options, bed.driver.engine.budgets.limits
    return {
        "shape": options.shape.name,
        "device": options.device,
        "dtype": options.dtype,
        "adapters": options.num_adapters,
        "ranks": ",".join(map(str, options.ranks)),
        "adapter_bytes": bed.batch_cost(mixed=True).adapter_bytes,
        "weight_bytes": bed.cost.weight_bytes,
        "batch": options.batch,
        "prompt_tokens": options.prompt_tokens,
        "new_tokens": options.new_tokens,
        "max_batch_tokens": limits.max_batch_tokens,
        "rounds": options.rounds,
        "warm_up_runs": 1,
        **{f"swap_{swap.kind}": swap.made for swap in bed.model.swaps},
    }
