"""What the configuration leaves open gets the device's default, and all of it fits together."""

import pytest
import torch

from weft.server.config import GIB, MIB, EngineConfig
from weft.server.engine.budgets import BLOCK_TOKENS, make_budgets, wanted_context
from weft.server.errors import StartFailed

from .worlds import World

BLOCK_BYTES = 8_192  # 2 layers, keys and values of 2 heads of 16, 16 tokens, 4 bytes


def test_defaults_of_a_cpu(world: World) -> None:
    budgets = make_budgets(EngineConfig(), world.model)
    assert budgets.num_blocks == GIB // BLOCK_BYTES
    assert budgets.arena_elements == 512 * MIB // 4
    limits = budgets.limits
    assert (limits.max_sequences, limits.max_batch_tokens, limits.max_context) == (32, 512, 512)
    assert limits.vocab_size == world.facts.vocab_size


def test_configuration_goes_before_the_defaults(world: World) -> None:
    config = EngineConfig(
        max_context=128,
        max_sequences=3,
        max_batch_tokens=7,
        max_rank=16,
        kv_bytes=20 * BLOCK_BYTES,
        arena_bytes=4096,
        host_bytes=8192,
    )
    budgets = make_budgets(config, world.model)
    assert (budgets.num_blocks, budgets.max_rank) == (20, 16)
    assert (budgets.arena_elements, budgets.host_elements) == (1024, 2048)
    limits = budgets.limits
    assert (limits.max_context, limits.max_sequences, limits.max_batch_tokens) == (128, 3, 7)


def test_context_is_what_the_cache_holds_unless_it_was_asked_for(world: World) -> None:
    budgets = make_budgets(EngineConfig(kv_bytes=2 * BLOCK_BYTES), world.model)
    assert budgets.limits.max_context == 2 * BLOCK_TOKENS
    with pytest.raises(StartFailed, match="hold 32 tokens, max_context 33 does not fit"):
        make_budgets(EngineConfig(kv_bytes=2 * BLOCK_BYTES, max_context=33), world.model)


def test_cache_below_one_block_is_refused(world: World) -> None:
    with pytest.raises(StartFailed, match="kv_bytes 100 hold 0 tokens"):
        make_budgets(EngineConfig(kv_bytes=100), world.model)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_context_above_the_models_is_refused(world: World, device: str) -> None:
    assert wanted_context(EngineConfig(), world.facts, torch.device(device)) == 512
    with pytest.raises(StartFailed, match="max_context 513 exceeds the model's 512"):
        wanted_context(EngineConfig(max_context=513), world.facts, torch.device(device))
