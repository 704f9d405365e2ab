"""The engine under test: a random base, its adapters on disk, and the batches that are run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from weft.adapters.sites import BaseFacts
from weft.server.config import DEFAULT_ARENA_BYTES, EngineConfig
from weft.server.engine.budgets import BLOCK_TOKENS
from weft.server.model.loader import LoadedModel, adapt_model

from .cases import Case
from .contest import Timing
from .driver import Driver, Request, Run
from .floors import BaseCost, BatchCost
from .loras import Lora, write_loras
from .options import EngineOptions
from .random_model import build_model, cost_of, describe

EXTRA_BASE_ROWS = 2  # beside the adapted ones, while results are checked


class Base(NamedTuple):
    """A base on its device, and what is known of it."""

    facts: BaseFacts
    model: LoadedModel
    cost: BaseCost


@dataclass(frozen=True, slots=True)
class Bed:
    """An engine with everything that it needs; whoever makes it closes the driver."""

    options: EngineOptions
    facts: BaseFacts
    model: LoadedModel
    cost: BaseCost
    loras: tuple[Lora, ...]
    driver: Driver

    def rows(self, places: Sequence[int | None]) -> list[Lora | None]:
        """The adapters at these places; None stays None."""
        return [None if place is None else self.loras[place] for place in places]

    def batch_cost(self, case: Case) -> BatchCost:
        loras = [lora for lora in self.rows(case.places) if lora is not None]
        return BatchCost(
            base=self.cost,
            batch=self.options.batch,
            prompt_tokens=self.options.prompt_tokens,
            new_tokens=self.options.new_tokens,
            distinct_elements=[lora.num_elements for lora in dict.fromkeys(loras)],
            row_elements=[lora.num_elements for lora in loras],
            element_bytes=self.model.dtype.itemsize,
        )

    def prompts(self, num: int, length: int) -> list[list[int]]:
        """Random tokens, the same at every call."""
        generator = torch.Generator().manual_seed(self.options.seed)
        ids_BT = torch.randint(self.facts.vocab_size, (num, length), generator=generator)
        prompts: list[list[int]] = ids_BT.tolist()
        return prompts

    def time(self, case: Case) -> Timing:
        """Run a batch once."""
        options = self.options
        prompts = self.prompts(len(case.places), options.prompt_tokens)
        digests = digests_of(self.rows(case.places))
        run = self.driver.run(make_requests(prompts, digests, options.new_tokens))
        return timing_of(run, len(case.places) * options.new_tokens)


def digests_of(rows: Sequence[Lora | None]) -> list[str | None]:
    return [None if lora is None else lora.digest for lora in rows]


def make_requests(
    prompts: Sequence[list[int]], digests: Sequence[str | None], new_tokens: int
) -> list[Request]:
    rows = zip(prompts, digests, strict=True)
    return [Request(tokens, digest, new_tokens) for tokens, digest in rows]


def timing_of(run: Run, num_tokens: int) -> Timing:
    """The figures of a run that drew `num_tokens`."""
    decodes = [step for step in run.steps if step.kind == "decode"]
    others = [step for step in run.steps if step.kind != "decode"]
    prefill_s, decode_s = (sum(s.seconds for s in steps) for steps in (others, decodes))
    return Timing(
        rate=num_tokens / run.seconds,
        prefill_rate=sum(step.tokens for step in others) / prefill_s,
        decode_rate=sum(step.tokens for step in decodes) / decode_s,
        step_ms=1000 * median(step.seconds for step in decodes),
    )


def make_bed(options: EngineOptions, folder: Path) -> Bed:
    """Build the base on its device, write the adapters into `folder`, start an engine on both."""
    return fill_bed(options, build_base(options), folder)


def build_base(options: EngineOptions) -> Base:
    """Build the base on its device, as an engine runs it."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    stock = build_model(
        options.shape, seed=options.seed, device=device, dtype=dtype, attention="eager"
    )
    facts, cost = describe(stock, options.shape, seed=options.seed), cost_of(stock, options.shape)
    facts = replace(facts, quantisation=options.quantisation)
    return Base(facts, adapt_model(stock, facts=facts), cost)


def fill_bed(options: EngineOptions, base: Base, folder: Path) -> Bed:
    """Write the adapters into `folder`, and start an engine on them and the base."""
    facts, model, cost = base
    loras = write_loras(
        facts,
        folder,
        num=options.num_adapters,
        ranks=options.ranks,
        seed=options.seed,
        device=model.device,
        keep_files=bool(options.peers),
    )
    images = {lora.digest: lora.image for lora in loras}
    driver = Driver(model, facts, _config(options, cost, loras), images)
    return Bed(options, facts, model, cost, loras, driver)


def _config(options: EngineOptions, cost: BaseCost, loras: Sequence[Lora]) -> EngineConfig:
    """Room for the batch twice, so that no run takes blocks from the one before; else defaults."""
    max_sequences = options.batch + EXTRA_BASE_ROWS
    tokens = max_sequences * (options.prompt_tokens + options.new_tokens + BLOCK_TOKENS)
    arena_bytes = sum(lora.image.stat().st_size for lora in loras)
    return EngineConfig(
        max_sequences=max_sequences,
        kv_bytes=2 * tokens * cost.kv_token_bytes,
        arena_bytes=max(arena_bytes, DEFAULT_ARENA_BYTES[options.device]),
    )
