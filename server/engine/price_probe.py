"""The price list, from a few steps and a copy that are timed at the start."""

import time
from collections.abc import Callable

import torch

from weft.server.model.kv_cache import KVCache, block_bytes
from weft.server.model.loader import LoadedModel

from .batch import build_batch
from .plan import Chunk, Plan
from .prices import Prices
from .sequence import Sequence, alone

BLOCK_TOKENS = 16
PROMPT_TOKENS = 64
DECODES = 16  # rows of the step that a decode's price is taken from
COPY_BYTES = {"cpu": 1 << 22, "cuda": 1 << 28}
ROUNDS = 2
CACHED_SHARE = 0.02  # of a computed token: it is looked up


def measure_prices(model: LoadedModel) -> Prices:
    """Time a prompt, a step of decodes, and copies on the device and to it."""
    num_tokens = min(PROMPT_TOKENS, model.facts.max_context)
    prompt = Chunk(_sequence(num_tokens), 0, num_tokens)
    decodes = [Chunk(_sequence(2), 1, 2) for _ in range(DECODES)]
    prefill_us = _step_us(model, Plan((prompt,))) / num_tokens
    size = model.dtype.itemsize
    read_us = _copy_us(model.device, model.device) / 2  # a copy writes as much as it reads
    load_us = _copy_us("cpu", model.device)
    return Prices(
        prefill_us=prefill_us,
        decode_us=_step_us(model, Plan(tuple(decodes))) / DECODES,
        cached_us=CACHED_SHARE * prefill_us,
        kv_us=block_bytes(model.layers, block_tokens=1, dtype=model.dtype) * read_us,
        element_us=size * read_us,
        load_us=size * load_us,
    )


def _sequence(num_tokens: int) -> Sequence:
    return alone([0] * num_tokens, num_blocks=-(-num_tokens // BLOCK_TOKENS))


def _step_us(model: LoadedModel, plan: Plan) -> float:
    """Time a step; its sequences share blocks, whose content does not matter."""
    cache = KVCache(
        model.layers,
        num_blocks=max(len(chunk.sequence.blocks) for chunk in plan.chunks),
        block_tokens=BLOCK_TOKENS,
        dtype=model.dtype,
        device=model.device,
    )
    batch = build_batch(plan, block_tokens=BLOCK_TOKENS, device=model.device)
    return _least_us(lambda: model.forward_base(batch, cache), model.device)


def _copy_us(origin: torch.device | str, target: torch.device) -> float:
    """Time to read a byte on one device and write it on the other."""
    num_bytes = COPY_BYTES[target.type]
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=origin)
    copy = torch.zeros(num_bytes, dtype=torch.uint8, device=target)
    return _least_us(lambda: copy.copy_(source), target) / num_bytes


def _least_us(run: Callable[[], object], device: torch.device) -> float:
    """Least time of a few runs after one that warms up."""
    times = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return 1e6 * min(times[1:])
