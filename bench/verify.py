"""What a suite checks before it times: the engine against the definition, itself and its peers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .bed import EXTRA_BASE_ROWS, Bed, digests_of, make_requests
from .cases import mixed_case
from .checks import ALTERNATIVES, Agreement, Deltas, check_deltas, compare_answers, near_tie
from .driver import Answer, Request
from .peers.peer import Peer
from .record import Check, Loads, Value

PROMPT_TOKENS = 64
NEW_TOKENS = 32


@dataclass(frozen=True, slots=True)
class Baseline:
    """A batch of all adapters and some base rows, and what the engine made of it.

    Attributes:
        limit: For what rounding alone explains; see `Agreement`.
    """

    requests: Sequence[Request]
    answers: Sequence[Answer]
    checks: Sequence[Check]
    loads: Sequence[Loads]
    limit: float

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def check_engine(bed: Bed) -> Baseline:
    """Run every request alone and all together, and every site by itself."""
    options = bed.options
    places = mixed_case(options.batch, options.num_adapters).places
    digests = digests_of(bed.rows([*places, *[None] * EXTRA_BASE_ROWS]))
    prompts = bed.prompts(len(digests), min(options.prompt_tokens, PROMPT_TOKENS))
    requests = make_requests(prompts, digests, min(options.new_tokens, NEW_TOKENS))
    alone, loads = run_alone(bed, requests)
    mixed = bed.driver.run(requests, logprobs=ALTERNATIVES)
    deltas = check_deltas(bed.driver.engine, bed.model, digests)
    limit = near_tie(bed.model, deltas)
    distinct = max(step.distinct_adapters for step in mixed.steps)
    agreement = compare_answers(mixed.answers, alone, limit=limit)
    checks = [
        _delta_check(deltas),
        _agreement_check(f"tokens of {distinct} adapters in one batch as alone", agreement),
    ]
    return Baseline(requests, mixed.answers, checks, loads, limit)


def check_peer(name: str, peer: Peer, baseline: Baseline) -> Check:
    """Run the baseline's requests at a peer."""
    answers = peer.answer(
        [request.tokens for request in baseline.requests],
        [request.digest for request in baseline.requests],
        new_tokens=baseline.requests[0].new_tokens,
    )
    agreement = compare_answers(baseline.answers, answers, limit=baseline.limit)
    return _agreement_check(f"tokens as {name}", agreement)


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
