"""Load a base model: its weights, the four gates, the swaps."""

import logging
import math
from collections.abc import Sequence
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from weft.adapters.sites import BaseFacts
from weft.kernels import Arena, Segments, group_rows
from weft.server.errors import ModelRefused

from .adapt import (
    Swap,
    SwapReport,
    fix_longrope,
    install_sites,
    kernel_sites,
    merge_swap,
    pack_swap,
    remove_sites,
)
from .attention import PagedAttention, choose_path
from .batch import ModelBatch
from .gates import check_layers, open_architecture
from .kv_cache import AttentionLayer, KVCache
from .load_probe import (
    MAX_ERROR,
    check_logits,
    logits_error,
    pack_step,
    probe_prompts,
    run_packed,
    run_stock,
)
from .lora_linear import SiteLinear, SiteStep
from .quantise import quantise_base, read_prompts, require_quantisable
from .recorder import record_layers
from .rotation import rope_swap
from .row_ops import RowOps, choose_row_ops
from .row_swaps import glu_swap, norm_swap

log = logging.getLogger(__name__)


class LoadedModel:
    """A base model that runs packed, paged steps in which every row may have its adapter.

    One thread uses it. It owns the weights; cache and arena belong to the caller.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        facts: BaseFacts,
        attention: PagedAttention,
        sites: list[SiteLinear],
        step: SiteStep,
    ) -> None:
        self.facts = facts
        self.layers: tuple[AttentionLayer, ...] = attention.layers
        self.swaps: tuple[SwapReport, ...] = ()
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.sites = sites
        self._model = model
        self._attention = attention
        self._step = step
        self._made: list[Swap] = []
        self._kernel_sites = kernel_sites(facts)
        model.set_attn_implementation(attention.name)

    @property
    def tile_tokens(self) -> frozenset[int]:
        """Tokens in the tiles of queries that attention reads."""
        return self._attention.tile_tokens

    @torch.inference_mode()
    def forward(
        self,
        batch: ModelBatch,
        cache: KVCache,
        arena: Arena | None,
        *,
        out_RV: Tensor | None = None,
    ) -> Tensor:
        """Run one step; the logits of `batch.logit_rows`, `[rows, V]`, float32.

        Args:
            cache: Gets the step's keys and values.
            arena: Holds the adapters that `batch.segments` names; None = the base alone.
            out_RV: Where the logits are to lie; None = in memory of their own.
        """
        self._step.arena, self._step.segments = arena, batch.segments
        self._attention.begin(batch, cache)
        try:
            logits_1RV: Tensor = self._model(
                input_ids=batch.tokens_T[None],
                position_ids=batch.positions_T[None],
                use_cache=False,
                logits_to_keep=batch.logit_rows,
            ).logits
        finally:
            self._attention.end()
            self._step.arena = self._step.segments = None
            for site in self.sites:
                site.drop()
        return logits_1RV[0].float() if out_RV is None else out_RV.copy_(logits_1RV[0])

    def forward_base(self, batch: ModelBatch, cache: KVCache) -> Tensor:
        """Run one step without adapters."""
        return self.forward(batch, cache, None)

    def capture_sites(self, batch: ModelBatch, cache: KVCache) -> dict[str, Tensor]:
        """Run one step of the base; the input of every site that ran, `[T, K]`, by its name."""
        inputs: dict[str, Tensor] = {}
        self._step.inputs = inputs
        try:
            self.forward_base(batch, cache)
        finally:
            self._step.inputs = None
        return inputs

    @torch.inference_mode()
    def site_delta(self, name: str, x_TK: Tensor, arena: Arena, segments: Segments) -> Tensor:
        """What the adapters alone add at one site, `[T, N]`, as the engine computes it."""
        site = self._kernel_sites[name]
        delta_TN = x_TK.new_zeros(len(x_TK), sum(site.out_features))
        arena.add_lora(delta_TN, x_TK, segments, site)
        return delta_TN

    def whole_step(
        self, tokens_T: Tensor, *, slot: int | None = None
    ) -> tuple[ModelBatch, KVCache]:
        """One sequence in one step, and a cache of one block for it; slot None = of the base."""
        num_rows = len(tokens_T)
        cache = KVCache(
            self.layers,
            num_blocks=1,
            block_tokens=num_rows,
            dtype=self.dtype,
            device=self.device,
        )
        table_BM = torch.zeros(1, 1, dtype=torch.int32, device=self.device)
        batch = pack_step([tokens_T], {0: (0, num_rows)}, table_BM, num_rows)
        if slot is None:
            return batch, cache
        segments = group_rows(np.full(num_rows, slot, dtype=np.int32)).to(self.device)
        return replace(batch, segments=segments), cache

    def row_swaps(self, tokens_T: Tensor, ops: RowOps) -> list[Swap]:
        """The modules and functions that a probe proves to compute what an op does.

        Call it before any other swap is made.
        """

        def run() -> None:
            self.forward_base(*self.whole_step(tokens_T))

        norms = norm_swap(self._model, ops.norm)
        ropes = rope_swap(self._model, ops.rope, self._attention, run)
        return [norms, ropes, glu_swap(self._model)] if ops.glu else [norms, ropes]

    def keep(self, swap: Swap) -> None:
        """Remember a swap that has been made, for `restore`."""
        self._made.append(swap)

    def restore(self) -> PreTrainedModel:
        """Undo every swap and give the stock model back; this object must not run again.

        Not of a base that was quantised: its plain weights are gone.
        """
        assert self.facts.quantisation is None
        for swap in reversed(self._made):
            swap.undo()
        remove_sites(self._model, self.facts, self.sites)
        self._model.set_attn_implementation("eager")
        return self._model


@torch.inference_mode()
def load_model(
    path: Path,
    *,
    facts: BaseFacts,
    device: torch.device | str,
    dtype: torch.dtype,
    max_context: int | None = None,
) -> LoadedModel:
    """Load the checkpoint in `path`, pass it through the gates and make the swaps.

    Args:
        facts: Of this very checkpoint, with this dtype.
        max_context: Longest sequence that will be served; None = what the model admits.

    Raises:
        ModelRefused: A gate refuses the model; the message names gate and value.
    """
    open_architecture(path)
    prompts = None
    if facts.quantisation is not None:
        require_quantisable(facts.quantisation, device=torch.device(device), dtype=dtype)
        prompts = read_prompts(path, max_context=facts.max_context)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation="eager"
    )
    nn.Module.to(model, device)
    return adapt_model(model, facts=facts, max_context=max_context, prompts=prompts)


@torch.inference_mode()
def adapt_model(
    model: PreTrainedModel,
    *,
    facts: BaseFacts,
    max_context: int | None = None,
    prompts: Sequence[Tensor] | None = None,
) -> LoadedModel:
    """Pass a model in memory through the gates from the third, and make the swaps.

    Args:
        model: On its device, in the serving dtype, with eager attention; it becomes the result's.
        max_context: Longest sequence that will be served; None = what the model admits.
        prompts: What a base that is quantised is compared on; None = seeded token ids.

    Raises:
        ModelRefused: A gate refuses the model; the message names gate and value.
    """
    model.eval().requires_grad_(False)
    fix_longrope(model, max_context or facts.max_context)
    probes = probe_prompts(facts.vocab_size, model.device)
    stock = run_stock(model, probes)
    layers = record_layers(model, probes[0])
    check_layers(layers, model.config)
    step = SiteStep()
    sites = install_sites(model, facts, step)
    attention = PagedAttention(layers, choose_path(layers, model.dtype, model.device))
    loaded = LoadedModel(model, facts, attention, sites, step)
    _check_rows(loaded, probes[0])
    rows = loaded.row_swaps(probes[0], choose_row_ops(loaded.device))
    merged = apply_swap(merge_swap(sites), loaded, probes[0])
    pack = pack_swap(model, sites if facts.quantisation is None else [])
    packed = pack.skip() if merged.undone else apply_swap(pack, loaded, probes[0])
    loaded.swaps = (merged, packed, *(apply_swap(swap, loaded, probes[0]) for swap in rows))
    logits = run_packed(loaded.forward_base, probes, layers, model.dtype)
    check_logits(logits, stock, model.dtype)
    if facts.quantisation is not None:
        loaded.swaps += (_quantise(loaded, facts.quantisation, prompts or probes),)
    for report in loaded.swaps:
        log.info("swap %s: %d made, %d skipped, %d undone", *astuple(report))
    return loaded


def _quantise(loaded: LoadedModel, quantisation: str, prompts: Sequence[Tensor]) -> SwapReport:
    def run(tokens_T: Tensor) -> Tensor:
        return loaded.forward_base(*loaded.whole_step(tokens_T.to(loaded.device)))

    require_quantisable(quantisation, device=loaded.device, dtype=loaded.dtype)
    report = quantise_base(loaded.sites, quantisation, prompts=prompts, run=run)
    if loaded.device.type == "cuda":
        torch.cuda.empty_cache()  # what the plain weights took is room for the KV cache
    return report


@torch.inference_mode()
def apply_swap(swap: Swap, loaded: LoadedModel, tokens_T: Tensor) -> SwapReport:
    """Make a swap; undo it when the logits of one step say that it matters, or it cannot run."""
    if not swap.count:
        return swap.skip()
    before = loaded.forward_base(*loaded.whole_step(tokens_T))
    swap.make()
    try:
        after = loaded.forward_base(*loaded.whole_step(tokens_T))
        error = logits_error([after], [before])
    except ValueError as err:  # an op does not take what the model hands it
        log.warning("%s: %s", swap.kind, err)
        error = math.inf
    if error <= MAX_ERROR[loaded.dtype]:
        loaded.keep(swap)
        return SwapReport(swap.kind, made=swap.count, skipped=swap.skipped, undone=0)
    swap.undo()
    log.warning("%s changes the logits by %.2g of their size: undone", swap.kind, error)
    return SwapReport(swap.kind, made=0, skipped=swap.skipped, undone=swap.count)


def _check_rows(loaded: LoadedModel, tokens_T: Tensor) -> None:
    """Gate 3, for sites: an adapter is added row by row, so a site must see the step's rows."""
    for name, x_TK in loaded.capture_sites(*loaded.whole_step(tokens_T)).items():
        if len(x_TK) != len(tokens_T):
            raise ModelRefused(
                f"gate 3 (calls): {name} ran on {len(x_TK)} rows of a step of {len(tokens_T)}"
            )
