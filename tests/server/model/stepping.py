"""Play sequences through a loaded model as an engine does: ragged steps, chunks beside decodes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from weft.adapters.sites import BaseFacts
from weft.kernels import Arena, group_rows
from weft.server.model.batch import ModelBatch
from weft.server.model.facts import base_facts
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import LoadedModel, load_model

interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="needs TRITON_INTERPRET=1"
)
BLOCK_TOKENS = 4
CHUNK_TOKENS = 7
ALIGNED_ELEMENTS = 64  # 128 bytes hold at most so many


@dataclass(frozen=True, slots=True)
class Played:
    """One sequence: its tokens, and the slot of its adapter; None = the base."""

    tokens: Tensor
    slot: int | None = None


def random_tokens(facts: BaseFacts, lengths: Sequence[int], *, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(facts.vocab_size, (n,), generator=generator) for n in lengths]


def open_model(
    folder: Path, dtype: torch.dtype = torch.float32, *, quantisation: str | None = None
) -> LoadedModel:
    name = str(dtype).removeprefix("torch.")
    facts = base_facts(folder, name="base", dtype=name, hash_cache=None, quantisation=quantisation)
    return load_model(folder, facts=facts, device="cpu", dtype=dtype)


def make_cache(loaded: LoadedModel, num_blocks: int) -> KVCache:
    return KVCache(
        loaded.layers,
        num_blocks=num_blocks,
        block_tokens=BLOCK_TOKENS,
        dtype=loaded.dtype,
        device="cpu",
    )


def play(
    loaded: LoadedModel,
    sequences: Sequence[Played],
    arena: Arena | None = None,
    *,
    poison: bool = True,
) -> list[Tensor]:
    """All logits `[n, V]` of every sequence: chunks of 7, then single tokens, blocks shuffled.

    Sequence i joins at step i. With `poison` the cache starts as NaN: a key that was not written
    in this run, or that belongs to nobody, must not be used.
    """
    width = max(-(-len(s.tokens) // BLOCK_TOKENS) for s in sequences)
    generator = torch.Generator().manual_seed(5)
    table_BM = torch.randperm(len(sequences) * width, generator=generator).view(-1, width).int()
    cache = make_cache(loaded, table_BM.numel())
    if poison:
        for tensor in (*cache.k, *cache.v):
            tensor.fill_(float("nan"))
    done, pieces = [0] * len(sequences), [list[Tensor]() for _ in sequences]
    for step in range(1000):
        running = [
            (i, done[i], min(done[i] + _chunk(done[i], len(s.tokens)), len(s.tokens)))
            for i, s in enumerate(sequences)
            if i <= step and done[i] < len(s.tokens)
        ]
        if not running:
            return [torch.cat(piece) for piece in pieces]
        logits = loaded.forward(make_batch(sequences, running, table_BM), cache, arena)
        parts = torch.split(logits, [stop - start for _, start, stop in running])
        for (i, _, stop), part in zip(running, parts, strict=True):
            done[i] = stop
            pieces[i].append(part)
    raise AssertionError("the sequences do not end")


def make_batch(
    sequences: Sequence[Played], running: Sequence[tuple[int, int, int]], table_BM: Tensor
) -> ModelBatch:
    """One step in which each running sequence (i, start, stop) computes these tokens."""
    positions = [torch.arange(start, stop) for _, start, stop in running]
    slots = [sequences[i].slot for i, _, _ in running]
    slot_T = np.repeat(
        [-1 if slot is None else slot for slot in slots], [len(p) for p in positions]
    )
    return ModelBatch(
        tokens_T=torch.cat([sequences[i].tokens[start:stop] for i, start, stop in running]),
        positions_T=torch.cat(positions),
        cache_index_T=torch.cat(
            [
                table_BM[i, position // BLOCK_TOKENS].long() * BLOCK_TOKENS
                + position % BLOCK_TOKENS
                for (i, _, _), position in zip(running, positions, strict=True)
            ]
        ),
        indptr_B1=list(accumulate(map(len, positions), initial=0)),
        kv_len_B=[stop for _, _, stop in running],
        block_table_BM=table_BM[[i for i, _, _ in running]],
        logit_rows=torch.arange(sum(map(len, positions))),
        segments=group_rows(slot_T) if any(slot is not None for slot in slots) else None,
    )


def make_arena(facts: BaseFacts, adapters: Sequence[Path], dtype: torch.dtype) -> Arena:
    """An arena in which slot i holds the i-th PEFT folder."""
    files = [
        (LoraConfig.from_pretrained(str(f)), load_file(f / "adapter_model.safetensors"))
        for f in adapters
    ]
    total = sum(t.numel() + ALIGNED_ELEMENTS for _, tensors in files for t in tensors.values())
    arena = Arena(
        total, num_slots=len(files), num_slices=facts.num_slices, dtype=dtype, device="cpu"
    )
    members = [member.name for site in facts.sites for member in site.members]
    at = 0
    for slot, (config, tensors) in enumerate(files):
        a_at, b_at = np.zeros(len(members), np.int64), np.zeros(len(members), np.int64)
        rank = np.zeros(len(members), np.int32)
        for j, name in enumerate(members):
            a_RK = tensors.get(f"base_model.model.{name}.lora_A.weight")
            if a_RK is None:
                continue
            b_NR = tensors[f"base_model.model.{name}.lora_B.weight"]
            rank[j] = len(a_RK)
            for where, matrix in ((a_at, a_RK), (b_at, b_NR.T * (config.lora_alpha / config.r))):
                where[j] = at
                arena.data[at : at + matrix.numel()] = matrix.flatten().to(dtype)
                at += -(-matrix.numel() // ALIGNED_ELEMENTS) * ALIGNED_ELEMENTS
        arena.write_row(slot, a_at, b_at, rank)
    return arena


@torch.inference_mode()
def stock_logits(
    folder: Path, tokens: Tensor, adapter: Path | None = None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Logits `[n, V]` of Hugging Face's eager model, with PEFT's adapter if one is given."""
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    )
    if adapter is not None:
        assert isinstance(model, PreTrainedModel)
        model = PeftModel.from_pretrained(model, str(adapter))
    logits: Tensor = model(input_ids=tokens[None], use_cache=False).logits[0].float()
    return logits


def _chunk(done: int, length: int) -> int:
    """Chunks of 7, the last five tokens one at a time, as decodes."""
    return max(1, min(CHUNK_TOKENS, length - 5 - done))
