"""The fourth gate: the adapted model, packed and in chunks, against the model as it was loaded."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

import torch
from torch import Tensor
from transformers import PreTrainedModel

from weft.server.errors import ModelRefused

from .batch import ModelBatch
from .kv_cache import AttentionLayer, KVCache

CHUNK_TOKENS = 7
BLOCK_TOKENS = 4
PROMPT_TOKENS = (19, 5, 12)
MAX_ERROR = {torch.float32: 1e-4, torch.float16: 0.2, torch.bfloat16: 0.2}
"""Largest RMS(error) / RMS(logits) that rounding explains. In 16 bits a near-tie of a router sends
a row to other experts: 0.09 was measured for a mixture of experts, 0.01 for dense models."""

Forward: TypeAlias = Callable[[ModelBatch, KVCache], Tensor]


def probe_prompts(vocab_size: int, device: torch.device) -> list[Tensor]:
    """Seeded token ids."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(vocab_size, (length,), generator=generator).to(device)
        for length in PROMPT_TOKENS
    ]


def run_stock(model: PreTrainedModel, prompts: Sequence[Tensor]) -> list[Tensor]:
    """Logits `[n, V]` of every prompt, each in a run of its own of the model as it is."""
    return [model(input_ids=tokens[None], use_cache=False).logits[0].float() for tokens in prompts]


def run_packed(
    forward: Forward,
    prompts: Sequence[Tensor],
    layers: Sequence[AttentionLayer],
    dtype: torch.dtype,
) -> list[Tensor]:
    """The same logits from ragged steps: chunks mixed with single rows, blocks in shuffled order.

    Sequence i joins at step i, and takes its last two tokens one at a time.
    """
    device = prompts[0].device
    longest = max(map(len, prompts))
    width = -(-longest // BLOCK_TOKENS)
    generator = torch.Generator().manual_seed(1)
    blocks = torch.randperm(len(prompts) * width, generator=generator, dtype=torch.int32)
    table_BM = blocks.view(-1, width).to(device)
    cache = KVCache(
        layers, num_blocks=blocks.numel(), block_tokens=BLOCK_TOKENS, dtype=dtype, device=device
    )
    plans = [_chunks(len(prompt)) for prompt in prompts]
    pieces: list[list[Tensor]] = [[] for _ in prompts]
    for step in range(max(map(len, plans)) + len(plans)):
        running = {i: plan[step - i] for i, plan in enumerate(plans) if 0 <= step - i < len(plan)}
        if not running:
            break
        logits = forward(pack_step(prompts, running, table_BM, BLOCK_TOKENS), cache)
        parts = torch.split(logits, [stop - start for start, stop in running.values()])
        for i, part in zip(running, parts, strict=True):
            pieces[i].append(part)
    return [torch.cat(piece) for piece in pieces]


def pack_step(
    prompts: Sequence[Tensor],
    running: dict[int, tuple[int, int]],
    table_BM: Tensor,
    block_tokens: int,
) -> ModelBatch:
    """Lay out one step in which sequence i computes tokens `running[i]`; all logits are wanted."""
    device = table_BM.device
    positions = [torch.arange(start, stop, device=device) for start, stop in running.values()]
    indices = [
        table_BM[i, position // block_tokens] * block_tokens + position % block_tokens
        for i, position in zip(running, positions, strict=True)
    ]
    indptr = list(accumulate(map(len, positions), initial=0))
    return ModelBatch(
        tokens_T=torch.cat([prompts[i][start:stop] for i, (start, stop) in running.items()]),
        positions_T=torch.cat(positions),
        cache_index_T=torch.cat(indices),
        indptr_B1=indptr,
        kv_len_B=[stop for _, stop in running.values()],
        block_table_BM=table_BM[list(running)],
        logit_rows=torch.arange(indptr[-1], device=device),
    )


def logits_error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """RMS of the difference over RMS of what is expected; infinite where it is not finite."""
    reference = torch.cat(list(expected))
    error = float((torch.cat(list(found)) - reference).norm() / reference.norm())
    return math.inf if math.isnan(error) else error


def check_logits(found: Sequence[Tensor], expected: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Gate 4.

    Raises:
        ModelRefused: The logits differ by more than rounding.
    """
    error = logits_error(found, expected)
    if error > MAX_ERROR[dtype]:
        raise ModelRefused(
            f"gate 4 (load probe): packed logits differ from the stock model's by {error:.2g} "
            f"of their size; {MAX_ERROR[dtype]:.0g} is the limit in {dtype}"
        )


def _chunks(length: int) -> list[tuple[int, int]]:
    starts = [*range(0, length - 2, CHUNK_TOKENS), length - 2, length - 1, length]
    return list(pairwise(starts))
