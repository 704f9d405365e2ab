"""LongRoPE gets one table for all steps; swaps that matter are taken back."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model
from weft.server.errors import ModelRefused
from weft.server.model.adapt import fix_longrope, kernel_sites
from weft.server.model.facts import base_facts
from weft.server.model.loader import load_model

from .stepping import Played, open_model, play, random_tokens, stock_logits

TRAINED, LONGEST = 16, 64
LONGROPE: dict[str, object] = {
    "max_position_embeddings": LONGEST,
    "original_max_position_embeddings": TRAINED,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
        "original_max_position_embeddings": TRAINED,
        "short_factor": [1.0 + i / 8 for i in range(8)],
        "long_factor": [2.0 + i for i in range(8)],
    },
}


@pytest.fixture(scope="module")
def longrope(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model("phi3", tmp_path_factory.mktemp("phi3"), seed=0, **LONGROPE)


@pytest.mark.parametrize(
    ("max_context", "length"), [(TRAINED, TRAINED), (LONGEST, LONGEST)], ids=["short", "long"]
)
def test_longrope_equals_stock_at_the_lengths_that_its_table_is_for(
    max_context: int, length: int, longrope: Path
) -> None:
    facts = base_facts(longrope, name="base", dtype="float32", hash_cache=None)
    loaded = load_model(
        longrope, facts=facts, device="cpu", dtype=torch.float32, max_context=max_context
    )
    tokens = random_tokens(facts, (length,))[0]
    expected = stock_logits(longrope, tokens)
    (found,) = play(loaded, [Played(tokens)])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_long_sequence_does_not_change_a_short_one(longrope: Path) -> None:
    loaded = open_model(longrope)
    short, long = map(Played, random_tokens(loaded.facts, (TRAINED - 6, LONGEST)))
    beside, _ = play(loaded, [short, long])
    torch.testing.assert_close(beside, play(loaded, [short])[0], rtol=0, atol=1e-5)


class StepRope(nn.Module):
    """A RoPE that looks at the whole step in its own way."""

    rope_type = "longrope"

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.config = stock.config
        assert isinstance(stock.inv_freq, torch.Tensor)
        self.inv_freq = stock.inv_freq

    def forward(self, x: torch.Tensor, positions: torch.Tensor) -> tuple[torch.Tensor, ...]:
        angles = positions[..., None] * self.inv_freq / positions.max()
        return angles.cos(), angles.sin()


def test_longrope_that_cannot_be_fixed_is_refused(longrope: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(longrope)
    model.model.rotary_emb = StepRope(model.model.rotary_emb)
    with pytest.raises(ModelRefused, match=r"gate 1 .* longrope of model.rotary_emb \(StepRope\)"):
        fix_longrope(model, LONGEST)


def test_sites_own_consecutive_columns_of_the_table(tiny_llama: Path) -> None:
    facts = base_facts(tiny_llama, name="base", dtype="float32", hash_cache=None)
    sites = kernel_sites(facts)
    assert [site.first for site in sites.values()] == [0, 3, 4, 6, 7, 10, 11, 13]
    assert sites["model.layers.0.self_attn.qkv"].out_features == (64, 32, 32)
