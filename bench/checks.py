"""What must hold before anything is timed: deltas by the definition, tokens as alone."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from weft.adapters.probe import TOLERANCES
from weft.kernels import Arena, Segments, Site, reference
from weft.server.channel import TokenLogprobs
from weft.server.engine.batch import build_batch
from weft.server.engine.engine import Engine
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import Sequence as EngineSequence
from weft.server.engine.sequence import alone
from weft.server.model.adapt import kernel_sites
from weft.server.model.batch import ModelBatch
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import LoadedModel

from .driver import PEER, Answer

ALTERNATIVES = 10
NEAR_TIE = {torch.float32: 1e-3, torch.float16: 0.03, torch.bfloat16: 0.1}
"""Largest difference of log-probabilities that rounding explains, in units of the spread of the
logits: the base's products round otherwise in another batch."""


@dataclass(frozen=True, slots=True)
class Deltas:
    """What every site adds, shrink and expand in the serving dtype, against the definition.

    Attributes:
        error: The largest ‖found - definition‖ / ‖definition‖ over sites and batches.
        logits_std: Standard deviation of the logits.
    """

    num_sites: int
    error: float
    worst_site: str
    tolerance: float
    logits_std: float

    @property
    def holds(self) -> bool:
        return self.error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Agreement:
    """Greedy tokens of the same requests, run in two ways.

    Attributes:
        noise: Largest difference of a common token's log-probability, before any tokens differ.
        gap: Largest lead that a token had, in its own run, over the one that the other run drew.
        limit: Of both, for rounding alone to explain what differs.
    """

    num_requests: int
    num_equal: int
    noise: float
    gap: float
    limit: float

    @property
    def holds(self) -> bool:
        return max(self.noise, self.gap) <= self.limit


class _Difference(NamedTuple):
    noise: float
    gap: float | None  # of the first tokens that differ


def near_tie(model: LoadedModel, deltas: Deltas) -> float:
    """The limit of Agreement for this model."""
    return NEAR_TIE[model.dtype] * deltas.logits_std


def compare_answers(
    found: Sequence[Answer], expected: Sequence[Answer], *, limit: float
) -> Agreement:
    """Compare two runs of the same requests, both with log-probabilities."""
    differences = [_compare(a, b) for a, b in zip(found, expected, strict=True)]
    gaps = [difference.gap for difference in differences if difference.gap is not None]
    return Agreement(
        num_requests=len(differences),
        num_equal=len(differences) - len(gaps),
        noise=max(difference.noise for difference in differences),
        gap=max(gaps, default=0.0),
        limit=limit,
    )


def _compare(a: Answer, b: Answer) -> _Difference:
    at = _first_difference(a.tokens, b.tokens)
    pairs = zip(a.logprobs[:at], b.logprobs[:at], strict=True)
    noise = max((abs(x.logprob - y.logprob) for x, y in pairs), default=0.0)
    if at is None:
        return _Difference(noise, None)
    gaps = _lead(a.logprobs[at], b.tokens[at]), _lead(b.logprobs[at], a.tokens[at])
    return _Difference(noise, max(gaps))


def _first_difference(a: Sequence[int], b: Sequence[int]) -> int | None:
    assert len(a) == len(b)
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)


def _lead(drawn: TokenLogprobs, other: int) -> float:
    """How far the token that was drawn leads another one; infinite if that is not in sight."""
    if other not in drawn.tokens:
        return math.inf
    return drawn.logprob - drawn.logprobs[drawn.tokens.index(other)]


@torch.inference_mode()
def check_deltas(engine: Engine, model: LoadedModel, digests: Sequence[str | None]) -> Deltas:
    """Run a ragged prefill and a decode step of these adapters, and compare every site's delta.

    Args:
        digests: Adapters in the arena, or None for base rows.
    """
    lengths = [2 + 11 * i % 71 for i in range(len(digests))]
    slots = [None if digest is None else _slot_of(engine, digest) for digest in digests]
    errors: dict[str, float] = {}
    logits = []
    for batch, cache in (_lay_out(model, slots, lengths), _lay_out(model, slots, [1] * len(slots))):
        logits.append(model.forward(batch, cache, engine.arena))
        for name, error in _site_errors(model, engine.arena, batch, cache).items():
            errors[name] = max(error, errors.get(name, 0.0))
    worst = max(errors, key=lambda name: errors[name])
    return Deltas(
        num_sites=len(errors),
        error=errors[worst],
        worst_site=worst,
        tolerance=TOLERANCES[model.facts.dtype],
        logits_std=float(logits[0].std()),
    )


def _slot_of(engine: Engine, digest: str) -> int:
    """The row of an adapter that stays where it is, since nothing runs meanwhile."""
    now = time.monotonic()  # the engine's clock: arrivals fade by it
    engine.residency.want(digest, PEER, now=now)
    slot = engine.residency.acquire(digest, now=now)
    assert slot is not None
    engine.residency.release(digest)
    return slot


def _lay_out(
    model: LoadedModel, slots: Sequence[int | None], lengths: Sequence[int]
) -> tuple[ModelBatch, KVCache]:
    """A step of sequences of their own, in a cache of one block for each."""
    block_tokens = max(lengths)
    chunks = []
    for i, (slot, length) in enumerate(zip(slots, lengths, strict=True)):
        sequence: EngineSequence = alone(_tokens(model, i, length), num_blocks=1, slot=slot)
        sequence.blocks = [i]
        chunks.append(Chunk(sequence, 0, length))
    cache = KVCache(
        model.layers,
        num_blocks=len(slots),
        block_tokens=block_tokens,
        dtype=model.dtype,
        device=model.device,
    )
    plan = Plan(tuple(chunks))
    return build_batch(plan, block_tokens=block_tokens, device=model.device), cache


def _tokens(model: LoadedModel, seed: int, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(model.facts.vocab_size, (length,), generator=generator).tolist()
    return ids


def _site_errors(
    model: LoadedModel, arena: Arena, batch: ModelBatch, cache: KVCache
) -> dict[str, float]:
    """The error of every site, by its name; the inputs are those of the base."""
    assert batch.segments is not None
    sites = kernel_sites(model.facts)
    errors = {}
    for name, x_TK in model.capture_sites(batch, cache).items():
        found_TN = model.site_delta(name, x_TK, arena, batch.segments).float()
        wanted_TN = define_delta(x_TK, arena, batch.segments, sites[name])
        error = float((found_TN - wanted_TN).norm() / wanted_TN.norm())
        errors[name] = math.inf if math.isnan(error) else error
    return errors


def define_delta(x_TK: Tensor, arena: Arena, segments: Segments, site: Site) -> Tensor:
    """What a site adds by the plain-torch definition, `[T, N]` in float32."""
    y_TN = x_TK.new_zeros(len(x_TK), sum(site.out_features), dtype=torch.float32)
    v = reference.shrink(x_TK, segments, arena=arena.data, table=arena.table, site=site)
    reference.expand(y_TN, v, segments, arena=arena.data, table=arena.table, site=site)
    return y_TN
