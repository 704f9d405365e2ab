"""What the engine may use, settled once at the start from its configuration and its device."""

import logging
from dataclasses import dataclass

import torch

from weft.adapters.sites import BaseFacts
from weft.server.config import GIB, MIB, EngineConfig
from weft.server.errors import StartFailed
from weft.server.model.kv_cache import KVCache, block_bytes
from weft.server.model.loader import LoadedModel

from .batch import build_batch
from .limits import Limits
from .plan import Chunk, Plan
from .sequence import alone

logger = logging.getLogger(__name__)

BLOCK_TOKENS = 16
NUM_SLOTS = 4096
MEMORY_SHARE = 0.9
GRAPH_BYTES = 2 * GIB  # for graphs: they share one pool, and each keeps its launches


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a device gets where the configuration says nothing."""

    max_context: int | None
    max_sequences: int
    max_batch_tokens: int
    min_batch_tokens: int


CPU = Defaults(max_context=4096, max_sequences=32, max_batch_tokens=512, min_batch_tokens=32)
CUDA = Defaults(max_context=None, max_sequences=256, max_batch_tokens=8192, min_batch_tokens=256)
CPU_KV_BYTES = GIB


@dataclass(frozen=True, slots=True)
class Budgets:
    """Sizes of the queues, the KV cache and the arena."""

    limits: Limits
    num_blocks: int
    block_tokens: int
    arena_elements: int
    host_elements: int
    num_slots: int
    max_rank: int


def make_budgets(config: EngineConfig, model: LoadedModel) -> Budgets:
    """Fill in what the configuration leaves open, and check that it fits together.

    Raises:
        StartFailed: The context exceeds the model's, or the memory cannot hold one sequence of it.
    """
    facts = model.facts
    defaults = defaults_of(model.device)
    max_batch_tokens = config.max_batch_tokens or defaults.max_batch_tokens
    arena_bytes = config.arena_bytes_on(model.device.type)
    host_bytes = config.host_bytes_on(model.device.type)
    kv_bytes = config.kv_bytes or _default_kv_bytes(
        model, max_batch_tokens, arena_bytes, graph_bytes=GRAPH_BYTES if config.graphs else 0
    )
    num_blocks = kv_bytes // block_bytes(model.layers, block_tokens=BLOCK_TOKENS, dtype=model.dtype)
    num_tokens = num_blocks * BLOCK_TOKENS
    wanted = wanted_context(config, facts, model.device)
    if num_blocks < 1 or (config.max_context or 0) > num_tokens:
        raise StartFailed(
            f"kv_bytes {kv_bytes} hold {num_tokens} tokens, max_context {wanted} does not fit"
        )
    scheduling = config.scheduling
    target_ms = scheduling.target_step_ms
    limits = Limits(
        max_sequences=config.max_sequences or defaults.max_sequences,
        max_batch_tokens=max_batch_tokens,
        max_context=min(wanted, num_tokens),
        vocab_size=facts.vocab_size,
        min_batch_tokens=min(defaults.min_batch_tokens, max_batch_tokens),
        target_step_s=target_ms and target_ms / 1000,
        max_waiting=scheduling.max_waiting,
        max_waiting_tokens=scheduling.max_waiting_tokens,
        max_tenant_waiting=scheduling.max_tenant_waiting,
        max_tenant_waiting_tokens=scheduling.max_tenant_waiting_tokens,
    )
    logger.info(
        "context %d, %d sequences and %d tokens a step, KV %d MiB in %d blocks, arena %d MiB, "
        "host %d MiB",
        limits.max_context,
        limits.max_sequences,
        limits.max_batch_tokens,
        kv_bytes // MIB,
        num_blocks,
        arena_bytes // MIB,
        host_bytes // MIB,
    )
    return Budgets(
        limits=limits,
        num_blocks=num_blocks,
        block_tokens=BLOCK_TOKENS,
        arena_elements=arena_bytes // model.dtype.itemsize,
        host_elements=host_bytes // model.dtype.itemsize,
        num_slots=NUM_SLOTS,
        max_rank=config.max_rank,
    )


def defaults_of(device: torch.device) -> Defaults:
    return CPU if device.type == "cpu" else CUDA


def wanted_context(config: EngineConfig, facts: BaseFacts, device: torch.device) -> int:
    """Longest sequence to serve, as long as the KV cache holds it.

    Raises:
        StartFailed: The configured one exceeds the model's.
    """
    if config.max_context is None:
        return min(facts.max_context, defaults_of(device).max_context or facts.max_context)
    if config.max_context > facts.max_context:
        raise StartFailed(
            f"max_context {config.max_context} exceeds the model's {facts.max_context}"
        )
    return config.max_context


def _default_kv_bytes(
    model: LoadedModel, max_batch_tokens: int, arena_bytes: int, *, graph_bytes: int
) -> int:
    """A fixed size on the CPU; on a GPU what the weights, the arena and the largest step leave."""
    if model.device.type == "cpu":
        return CPU_KV_BYTES
    step_bytes = _measure_step(model, min(max_batch_tokens, model.facts.max_context))
    free, total = torch.cuda.mem_get_info(model.device)
    kv_bytes = int(free - (1 - MEMORY_SHARE) * total) - arena_bytes - step_bytes - graph_bytes
    if kv_bytes < 1:
        raise StartFailed(
            f"{free // MIB} MiB are free on the device; the arena takes {arena_bytes // MIB}, "
            f"a step {step_bytes // MIB}, graphs {graph_bytes // MIB}: nothing is left for the KV "
            "cache"
        )
    return kv_bytes


def _measure_step(model: LoadedModel, num_tokens: int) -> int:
    """Bytes that one step of `num_tokens` needs at its peak."""
    num_blocks = -(-num_tokens // BLOCK_TOKENS)
    cache = KVCache(
        model.layers,
        num_blocks=num_blocks,
        block_tokens=BLOCK_TOKENS,
        dtype=model.dtype,
        device=model.device,
    )
    chunk = Chunk(alone([0] * num_tokens, num_blocks=num_blocks), 0, num_tokens)
    batch = build_batch(Plan((chunk,)), block_tokens=BLOCK_TOKENS, device=model.device)
    before = torch.cuda.memory_allocated(model.device)
    torch.cuda.reset_peak_memory_stats(model.device)
    model.forward(batch, cache, None)
    return torch.cuda.max_memory_allocated(model.device) - before
