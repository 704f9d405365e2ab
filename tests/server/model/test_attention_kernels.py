"""Whole models through the kernels, in the interpreter, equal plain torch."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model
from weft.kernels.query_tiles import cut_queries
from weft.server.errors import ModelRefused
from weft.server.model.attention import PagedAttention
from weft.server.model.attention_kernels import KernelAttention
from weft.server.model.loader import LoadedModel
from weft.server.model.lora_linear import SiteStep
from weft.server.model.recorder import record_layers

from .stepping import Played, interpreted, open_model, play, random_tokens
from .test_attention import CPU, FULL, make_step, variant

WINDOW: dict[str, object] = {
    "sliding_window": 8,
    "head_dim": 16,
    "layer_types": ["sliding_attention", "full_attention"],
}
FAMILIES: dict[str, dict[str, object]] = {
    "llama": {"num_attention_heads": 8},
    "gemma2": WINDOW | {"attn_logit_softcapping": 2.0},
    "gpt_oss": WINDOW | {"num_local_experts": 4, "num_experts_per_tok": 2},
}
LENGTHS = (23, 9, 16)


@interpreted
@pytest.mark.parametrize("family", FAMILIES)
def test_model_gives_the_logits_of_plain_torch(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(family, tmp_path, seed=0, **FAMILIES[family])
    plain = open_model(folder)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    tokens = random_tokens(plain.facts, LENGTHS)
    with torch.inference_mode():
        layers = record_layers(model, tokens[0])
    attention = PagedAttention(layers, KernelAttention(layers, torch.float32, CPU))
    kernels = LoadedModel(model, plain.facts, attention, [], SiteStep())
    sequences = [Played(own) for own in tokens]
    found, expected = torch.cat(play(kernels, sequences)), torch.cat(play(plain, sequences))
    assert (found - expected).norm() / expected.norm() < 1e-5


def test_workspace_holds_the_largest_step_in_any_layer() -> None:
    """Three splits in the interpreter; room for 5 sequences is made for 8, and kept."""
    layers = (FULL, variant(index=1, num_heads=8, num_kv_heads=1, v_head_dim=16))
    attention = KernelAttention(layers, torch.float32, CPU)
    for num, room in ((2, 2), (5, 8), (3, 8)):
        attention.begin(make_step(FULL, [(1, 3)] * num, torch.float32)[0])
        assert attention._workspace is not None
        assert attention._workspace.sums.numel() == room * 8 * 3 * 16
        assert attention._workspace.tickets.tolist() == [0] * room * 2
        attention.end()


def test_heads_that_the_kernels_do_not_take_are_refused() -> None:
    message = r"gate 3 \(calls\): layer 7 has heads of 512, .* take at most 256"
    with pytest.raises(ModelRefused, match=message):
        KernelAttention((FULL, variant(index=7, v_head_dim=512)), torch.float32, CPU)


@interpreted
def test_tiles_that_a_step_brings_are_used_though_there_is_room_for_more() -> None:
    batch, cache, written = make_step(FULL, [(20, 20), (1, 9)], torch.float32)
    q, k, v = (torch.cat(parts) for parts in list(zip(*written, strict=True))[:3])
    for name, new in (("k", k), ("v", v)):
        getattr(cache, name)[0].flatten(0, 1).index_copy_(0, batch.cache_index_T, new)
    attention = KernelAttention((FULL,), torch.float32, CPU)
    [tokens] = attention.tile_tokens
    outs = []
    for brought in (False, True):
        tiles = cut_queries(batch.indptr_B1, batch.kv_len_B, max_rows=tokens, capacity=9)
        attention.begin(replace(batch, queries={tokens: tiles} if brought else None))
        assert len(attention._queries[tokens].items) == (9 if brought else 2)
        outs.append(attention.attend(q, cache.k[0], cache.v[0], FULL, None))
        attention.end()
    assert torch.equal(*outs)


def test_layers_of_unlike_groups_have_tiles_of_their_own() -> None:
    layers = (FULL, variant(index=1, num_heads=16, num_kv_heads=1))
    attention = KernelAttention(layers, torch.float32, CPU)
    attention.begin(make_step(FULL, [(20, 20), (1, 9)], torch.float32)[0])
    assert {tokens: len(tiles.items) for tokens, tiles in attention._queries.items()} == {
        64: 2,
        8: 4,
    }
    attention.end()
    assert not attention._queries
