"""A base on its device, adapters of it, and engines of the sizes that a case asks for."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from weft.bench.bed import Base
from weft.bench.driver import Driver
from weft.bench.floors import BatchCost, Ceilings
from weft.bench.loras import Lora, clone_lora, write_loras
from weft.server.config import EngineConfig
from weft.server.engine.budgets import BLOCK_TOKENS

from .options import StepOptions

MIN_BYTES = 1024**2
Rows = Sequence[Lora | None]


@dataclass(frozen=True, slots=True)
class Workbench:
    """What all cases share.

    Attributes:
        folder: For adapters.
    """

    options: StepOptions
    base: Base
    ceilings: Ceilings
    folder: Path
    _loras: dict[int, list[Lora]] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        return self.base.model.device

    def loras(self, rank: int, num: int) -> list[Lora]:
        """Adapters of one rank on every Linear: one image, and copies of it under other digests.

        Each has a place of its own in the arena; nothing that is timed depends on its values.
        """
        known = self._loras.setdefault(rank, [])
        if not known:
            known += write_loras(
                self.base.facts,
                self.folder / f"r{rank}",
                num=1,
                ranks=(rank,),
                seed=self.options.seed,
                device=self.device,
                keep_files=False,
            )
        known += [clone_lora(known[0], number) for number in range(len(known), num)]
        return known[:num]

    def prompts(self, num: int, length: int) -> list[list[int]]:
        """Random tokens, the same at every call."""
        generator = torch.Generator().manual_seed(self.options.seed)
        ids_BT = torch.randint(self.base.facts.vocab_size, (num, length), generator=generator)
        prompts: list[list[int]] = ids_BT.tolist()
        return prompts

    def cost(self, rows: Rows, prompt_tokens: int) -> BatchCost:
        """What a batch of these rows costs at least; None = a row of the base."""
        loras = [lora for lora in rows if lora is not None]
        return BatchCost(
            base=self.base.cost,
            batch=len(rows),
            prompt_tokens=prompt_tokens,
            new_tokens=1,
            distinct_elements=[lora.num_elements for lora in dict.fromkeys(loras)],
            row_elements=[lora.num_elements for lora in loras],
            element_bytes=self.base.model.dtype.itemsize,
        )

    @contextmanager
    def open_driver(
        self,
        *,
        num_sequences: int,
        tokens: int,
        loras: Sequence[Lora] = (),
        num_resident: int | None = None,
        graphs: bool = True,
        speculate: int | None = None,
    ) -> Iterator[Driver]:
        """An engine with room for so many sequences of so many tokens, and these adapters.

        Args:
            num_resident: Adapters that the arena has room for; None = all.
            graphs: Capture steps, on CUDA; it takes seconds.
            speculate: Drafts that a decode may have; None = no drafts.
        """
        free_memory(self.device)
        size = self.base.model.dtype.itemsize
        largest = max((lora.num_elements for lora in loras), default=0) * size
        num = len(loras) if num_resident is None else num_resident
        blocks = num_sequences * (-(-tokens // BLOCK_TOKENS) + 1) + 1
        config = EngineConfig(
            max_context=min(tokens, self.base.facts.max_context),
            max_sequences=num_sequences,
            kv_bytes=blocks * BLOCK_TOKENS * self.base.cost.kv_token_bytes,
            arena_bytes=num * largest or MIN_BYTES,
            graphs=graphs,
            speculate=speculate,
            host_bytes=(2 if num_resident is None else len(loras)) * largest or MIN_BYTES,
        )
        images = {lora.digest: lora.image for lora in loras}
        driver = Driver(self.base.model, self.base.facts, config, images)
        try:
            yield driver
        finally:
            driver.close()


def free_memory(device: torch.device) -> None:
    """Give back what an engine before held; it is in cycles."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
