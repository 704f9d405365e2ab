"""A quantised base stays near the plain one, or does not start; adapters are as exact as ever."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tests.tiny import save_tiny_adapter, save_tiny_model
from weft.kernels import Site
from weft.server.errors import ModelRefused
from weft.server.model.adapt import SwapReport
from weft.server.model.load_probe import logits_error
from weft.server.model.lora_linear import SiteLinear, SiteStep
from weft.server.model.quantise import (
    PROMPTS,
    find_divergence,
    is_quantisable,
    read_prompts,
    require_fp8,
    require_quantisable,
)

from .families import DENSE, MIXTURES, Family
from .stepping import Played, make_arena, open_model, play, random_tokens, stock_logits

CHOSEN = [f for f in [*DENSE, *MIXTURES] if f.name in {"llama", "qwen3", "gemma2", "qwen3_moe"}]
TOLERANCE = {"int8": 0.06, "fp8": 0.2}
"""Of the logits; twice as much for a mixture, where a tie of a router is another expert."""


@pytest.mark.parametrize("quantisation", TOLERANCE)
@pytest.mark.parametrize("family", CHOSEN, ids=lambda family: family.name)
def test_rows_with_and_without_adapters_stay_near_stock_run_singly(
    family: Family, quantisation: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(family.name, tmp_path / "base", seed=0, **family.config)
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    loaded = open_model(folder, quantisation=quantisation)
    made = 8 if family in DENSE else 4  # experts are no Linears
    assert loaded.swaps[-1] == SwapReport(f"{quantisation}_linear", made, skipped=0, undone=0)
    tokens = random_tokens(loaded.facts, (23, 9, 16))
    sequences = [Played(t, slot) for t, slot in zip(tokens, (0, None, 0), strict=True)]
    found = play(loaded, sequences, make_arena(loaded.facts, [adapter], torch.float32))
    limit = TOLERANCE[quantisation] * (1 if family in DENSE else 2)
    for played, logits in zip(sequences, found, strict=True):
        used = adapter if played.slot == 0 else None
        plain = stock_logits(folder, played.tokens, used)
        assert 0 < logits_error([logits], [plain]) < limit
        if used is not None:
            assert logits_error([stock_logits(folder, played.tokens)], [plain]) > limit


def test_a_base_that_quantisation_makes_another_does_not_start(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path)
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if "norm" in name:
            weight[::7] *= 1000
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelRefused, match=r"gate 5 .* nats per token .* 0\.05 is the limit"):
        open_model(folder, quantisation="int8")


def test_a_base_without_a_site_to_quantise_does_not_start(tmp_path: Path) -> None:
    folder = save_tiny_model("gpt2", tmp_path)
    with pytest.raises(ModelRefused, match=r"gate 5 .* int8 suits none of 0 sites"):
        open_model(folder, quantisation="int8")


@pytest.mark.parametrize(
    ("name", "num_in", "widths", "quantised"),
    [
        ("layers.0.mlp.down", 64, (32,), True),
        ("layers.0.self_attn.qkv", 64, (32, 16, 16), True),
        ("layers.0.mlp.down", 72, (32,), False),
        ("layers.0.self_attn.qkv", 64, (32, 8, 8), False),
        ("layers.0.mlp.router.gate", 64, (32,), False),
        ("layers.0.mlp.gate.wg", 64, (32,), False),
    ],
)
def test_sites_of_odd_shapes_and_routers_stay_as_they_are(
    name: str, num_in: int, widths: tuple[int, ...], quantised: bool
) -> None:
    linears = [nn.Linear(num_in, width) for width in widths]
    site = SiteLinear(name, Site(num_in, widths, 0), linears, SiteStep())
    assert is_quantisable(site) is quantised


def test_divergence_is_zero_for_equals_and_ignores_a_shift() -> None:
    logits = [torch.randn(3, 8), torch.randn(2, 8)]
    assert find_divergence([each + 2 for each in logits], logits) == pytest.approx(0, abs=1e-6)
    certain, even = torch.tensor([[50.0, 0.0]]), torch.zeros(1, 2)
    assert find_divergence([even], [certain]) == pytest.approx(0.6931, abs=1e-4)
    assert find_divergence([certain], [even]) == pytest.approx(24.3069, abs=1e-4)


def test_prompts_are_words_in_the_tokens_of_the_base(tiny_llama: Path) -> None:
    whole = read_prompts(tiny_llama, max_context=512)
    assert len(whole) == len(PROMPTS)
    assert all(len(tokens) == 64 for tokens in whole)
    assert [len(tokens) for tokens in read_prompts(tiny_llama, max_context=9)] == [9] * len(PROMPTS)


CUDA = torch.device("cuda")


def test_int8_is_refused_beside_a_cpu() -> None:
    with pytest.raises(ModelRefused, match="the base is on cuda"):
        require_quantisable("int8", device=CUDA, dtype=torch.bfloat16)


def test_fp8_is_refused_where_it_cannot_be_multiplied() -> None:
    with pytest.raises(ModelRefused, match=r"bfloat16 on cuda; the base is in torch\.float16"):
        require_quantisable("fp8", device=CUDA, dtype=torch.float16)
    with pytest.raises(ModelRefused, match=r"compute capability 8\.9; the GPU has 8\.0"):
        require_fp8((8, 0))
    for capability in ((8, 9), (9, 0), (10, 0)):
        require_fp8(capability)
