"""A module whose form is proven runs by its kernel, and the logits stay; others are left."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tests.tiny import save_tiny_adapter, save_tiny_model
from weft.server.model.adapt import SwapReport, install_sites, merge_swap
from weft.server.model.attention import PagedAttention
from weft.server.model.attention_cpu import CpuAttention
from weft.server.model.facts import base_facts
from weft.server.model.loader import LoadedModel, apply_swap
from weft.server.model.lora_linear import SiteStep
from weft.server.model.recorder import record_layers
from weft.server.model.row_ops import KERNELS, NormOp, choose_row_ops
from weft.server.model.row_swaps import (
    NormForm,
    find_gated,
    glu_swap,
    norm_swap,
    prove_glu,
    prove_norm,
)

from .families import DENSE, MIXTURES
from .stepping import Played, interpreted, make_arena, open_model, play, random_tokens, stock_logits

TARGETS = ["q_proj", "qkv_proj", "o_proj", "down_proj"]
BF16 = torch.bfloat16
CPU_OPS = choose_row_ops(torch.device("cpu"))


class DoubledRMSNorm(LlamaRMSNorm):
    def forward(self, hidden_states: Tensor) -> Tensor:
        doubled: Tensor = 2 * super().forward(hidden_states)
        return doubled


class ShiftedRMSNorm(LlamaRMSNorm):
    """Differs in rows of small size only."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        self.variance_epsilon = 2e-6
        shifted: Tensor = super().forward(hidden_states)
        self.variance_epsilon = 1e-6
        return shifted


@torch.inference_mode()
def random_weight(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    assert isinstance(norm.weight, Tensor)
    norm.weight.normal_()
    return norm.to(BF16)


@pytest.mark.parametrize(
    ("norm", "form"),
    [
        (LlamaRMSNorm(64), NormForm(1e-6, add_one=False, round_first=True)),
        (GemmaRMSNorm(64), NormForm(1e-6, add_one=True, round_first=False)),
        (DoubledRMSNorm(64), None),
        (ShiftedRMSNorm(64), None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("op", [KERNELS.norm, CPU_OPS.norm], ids=["kernel", "cpu"])
@torch.inference_mode()
def test_norm_is_known_by_its_bits(norm: nn.Module, form: NormForm | None, op: NormOp) -> None:
    assert prove_norm(random_weight(norm), BF16, op) == form
    assert prove_norm(norm, torch.float32, op) is None  # the kernel wants one dtype


@pytest.mark.parametrize(
    ("name", "activation"),
    [("silu", "silu"), ("gelu", "gelu"), ("gelu_pytorch_tanh", "gelu_tanh"), ("relu", None)],
)
@torch.inference_mode()
def test_activation_is_known_by_its_bits(name: str, activation: str | None, tmp_path: Path) -> None:
    model, _ = open_apart(save_tiny_model("llama", tmp_path, hidden_act=name))
    proven = [prove_glu(mlp, torch.float32) for mlp in find_gated(model)]
    assert proven == [activation] * 2


@interpreted
@pytest.mark.parametrize(
    ("family", "norms", "glus"),
    [("llama", 5, 2), ("gemma2", 9, 2), ("phi3", 5, 2), ("qwen3", 9, 2), ("qwen2_moe", 5, 2)],
)
def test_kernels_give_the_logits_of_the_modules_and_can_be_undone(
    family: str, norms: int, glus: int, tmp_path: Path
) -> None:
    (config,) = (known.config for known in (*DENSE, *MIXTURES) if known.name == family)
    folder = save_tiny_model(family, tmp_path / "base", seed=0, **config)
    _, kernels = open_apart(folder)
    tokens = random_tokens(kernels.facts, (12, 5))
    swaps = kernels.row_swaps(tokens[0], KERNELS)
    apply_swap(merge_swap(kernels.sites), kernels, tokens[0])
    reports = [apply_swap(swap, kernels, tokens[0]) for swap in swaps]
    assert reports == [
        SwapReport("rmsnorm", made=norms, skipped=0, undone=0),
        SwapReport("rope", made=2, skipped=0, undone=0),
        SwapReport("glu", made=glus, skipped=0, undone=0),
    ]
    adapter = save_tiny_adapter(folder, tmp_path / "adapter", LoraConfig(target_modules=TARGETS))
    arena = make_arena(kernels.facts, [adapter], torch.float32)
    sequences = [Played(tokens[0], 0), Played(tokens[1])]
    expected = play(open_model(folder), sequences, arena)
    for found, logits in zip(play(kernels, sequences, arena), expected, strict=True):
        torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)
        assert not torch.equal(found, logits)  # other bits: it did run
    restored = kernels.restore()(input_ids=tokens[0][None]).logits[0]
    assert torch.equal(restored, stock_logits(folder, tokens[0]))


def test_what_no_form_fits_keeps_its_own_code(tmp_path: Path) -> None:
    model, _ = open_apart(save_tiny_model("llama", tmp_path, hidden_act="relu"))
    model.model.norm = random_weight(DoubledRMSNorm(64)).float()
    assert (norm_swap(model, KERNELS.norm).count, norm_swap(model, KERNELS.norm).skipped) == (4, 1)
    assert (glu_swap(model).count, glu_swap(model).skipped) == (0, 2)


@interpreted
def test_swap_whose_op_does_not_take_the_models_rows_is_undone(tiny_llama: Path) -> None:
    model, loaded = open_apart(tiny_llama)
    swap = norm_swap(model, KERNELS.norm)
    model.model.norm.weight.data = model.model.norm.weight.data.half()
    tokens = random_tokens(loaded.facts, (12,))[0]
    assert apply_swap(swap, loaded, tokens) == SwapReport("rmsnorm", made=0, skipped=0, undone=5)
    assert "forward" not in vars(model.model.norm)


def test_norm_of_a_width_that_the_op_does_not_take_keeps_its_own_code() -> None:
    assert prove_norm(LlamaRMSNorm(48), torch.float32, CPU_OPS.norm) is None
    assert prove_norm(LlamaRMSNorm(48), torch.float32, KERNELS.norm) is not None


@pytest.mark.parametrize("dtype", [torch.float32, BF16], ids=str)
def test_step_of_a_cpu_keeps_every_bit(dtype: torch.dtype, tmp_path: Path) -> None:
    config = {"head_dim": 32, "sliding_window": 8}
    loaded = open_model(save_tiny_model("gemma3_text", tmp_path, seed=0, **config), dtype)
    made = {report.kind: report.made for report in loaded.swaps}
    assert (made["rmsnorm"], made["rope"]) == (13, 2)
    sequences = [Played(tokens) for tokens in random_tokens(loaded.facts, (12, 5))]
    found = play(loaded, sequences)
    for swap in loaded._made:
        if swap.kind in ("rmsnorm", "rope"):
            swap.undo()
    assert all(map(torch.equal, found, play(loaded, sequences)))


def open_apart(folder: Path) -> tuple[PreTrainedModel, LoadedModel]:
    """A model with its sites installed and no swap made."""
    facts = base_facts(folder, name="base", dtype="float32", hash_cache=None)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    model.requires_grad_(False)
    step = SiteStep()
    with torch.inference_mode():
        layers = record_layers(model, torch.arange(6))
    attention = PagedAttention(layers, CpuAttention(torch.float32))
    sites = install_sites(model, facts, step)
    return model, LoadedModel(model, facts, attention, sites, step)
