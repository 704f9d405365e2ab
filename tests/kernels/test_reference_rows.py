"""The definitions against the modules of transformers, bit for bit."""

from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig

from weft.kernels import reference_rows
from weft.kernels.activation import Activation

DTYPES = [torch.float32, torch.bfloat16]
MAGNITUDES = torch.tensor([1e-3, 0.1, 1.0, 30.0])


def modeling(family: str) -> ModuleType:
    return import_module(f"transformers.models.{family}.modeling_{family}")


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "name", "add_one", "round_first"),
    [
        ("llama", "LlamaRMSNorm", False, True),
        ("qwen3", "Qwen3RMSNorm", False, True),
        ("olmo2", "Olmo2RMSNorm", False, False),
        ("gemma", "GemmaRMSNorm", True, False),
        ("gemma3", "Gemma3RMSNorm", True, False),
    ],
)
def test_rmsnorm_is_the_module(
    family: str, name: str, add_one: bool, round_first: bool, dtype: torch.dtype
) -> None:
    module = getattr(modeling(family), name)(96, eps=1e-5).to(dtype)
    module.weight.data = random(96, dtype=dtype, seed=1)
    x_THK = random(4, 3, 96, dtype=dtype) * MAGNITUDES.to(dtype)[:, None, None]
    got = reference_rows.rmsnorm(
        x_THK, module.weight, eps=1e-5, add_one=add_one, round_first=round_first
    )
    assert torch.equal(got, module(x_THK))


def test_one_is_added_to_the_rounded_weight_where_the_row_is_rounded_first() -> None:
    """The form that no module has: every factor and the product are rounded."""
    x_TK, weight_K = random(4, 96, dtype=torch.bfloat16), random(96, dtype=torch.bfloat16, seed=1)
    h_TK = x_TK.double() / (x_TK.double().pow(2).mean(1, keepdim=True) + 1e-5).sqrt()
    want = (1 + weight_K).double() * h_TK.bfloat16().double()
    got = reference_rows.rmsnorm(x_TK, weight_K, eps=1e-5, add_one=True, round_first=True)
    assert torch.equal(got, want.bfloat16())


@pytest.mark.parametrize("dtype", DTYPES)
def test_add_rmsnorm_is_the_sum_and_the_module(dtype: torch.dtype) -> None:
    module = modeling("llama").LlamaRMSNorm(96, eps=1e-6).to(dtype)
    x_TK, residual_TK = random(7, 96, dtype=dtype), random(7, 96, dtype=dtype, seed=1)
    sum_TK = residual_TK + x_TK
    got = reference_rows.add_rmsnorm(
        x_TK, residual_TK, module.weight, eps=1e-6, add_one=False, round_first=True
    )
    assert torch.equal(residual_TK, sum_TK)
    assert torch.equal(got, module(sum_TK))


def tiny_config(family: str, **options: object) -> PreTrainedConfig:
    shape = {"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2}
    return AutoConfig.for_model(family, **shape, intermediate_size=131, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "prefix", "interleaved", "in_fp32"),
    [
        ("llama", "Llama", False, False),
        ("gpt_neox", "GPTNeoX", False, False),  # a quarter of every head
        ("olmo2", "Olmo2", False, True),  # angles in fp32
        ("gpt_oss", "GptOss", False, False),  # half as many angles
        ("glm", "Glm", True, False),  # half of every head, by the first half of the angles
        ("cohere", "Cohere", True, True),  # rounded angles, each twice
        ("ernie4_5", "Ernie4_5", True, True),
    ],
)
def test_rope_is_the_function(
    family: str, prefix: str, interleaved: bool, in_fp32: bool, dtype: torch.dtype
) -> None:
    config, module = tiny_config(family, head_dim=16), modeling(family)
    q_THD, k_TGD, v_TGD = (random(9, heads, 16, dtype=dtype, seed=heads) for heads in (6, 2, 3))
    v_TGD = v_TGD[:, :2, :12]
    position_of_X = torch.arange(40)[None]
    cos_XD, sin_XD = (
        angles[0]
        for angles in getattr(module, f"{prefix}RotaryEmbedding")(config)(q_THD, position_of_X)
    )
    step = 2 if family == "cohere" else 1
    pairs = cos_XD.shape[1] // (1 if family == "gpt_oss" else 2)
    cos_XE, sin_XE = (angles[:, ::step][:, :pairs].contiguous() for angles in (cos_XD, sin_XD))
    positions_T = torch.tensor([3, 4, 5, 39, 0, 17, 1, 2, 8])
    cos_1TD, sin_1TD = cos_XD[positions_T][None], sin_XD[positions_T][None]
    want_q, want_k = module.apply_rotary_pos_emb(
        q_THD.transpose(0, 1)[None], k_TGD.transpose(0, 1)[None], cos_1TD, sin_1TD
    )
    k_cache_PZGD, v_cache_PZGD = (
        torch.zeros(5, 4, 2, 16).to(dtype),
        torch.zeros(5, 4, 2, 12).to(dtype),
    )
    cache_index_T = torch.tensor([4, 5, 6, 19, 8, 0, 1, 2, 12])
    reference_rows.rope(
        q_THD,
        k_TGD,
        v_TGD,
        positions_T=positions_T,
        cache_index_T=cache_index_T,
        cos_XE=cos_XE,
        sin_XE=sin_XE,
        k_cache_PZGD=k_cache_PZGD,
        v_cache_PZGD=v_cache_PZGD,
        interleaved=interleaved,
        in_fp32=in_fp32,
    )
    assert torch.equal(q_THD, want_q[0].transpose(0, 1))
    assert torch.equal(k_cache_PZGD.flatten(0, 1)[cache_index_T], want_k[0].transpose(0, 1))
    assert torch.equal(v_cache_PZGD.flatten(0, 1)[cache_index_T], v_TGD)
    assert v_cache_PZGD.flatten(0, 1).any((1, 2)).sum() == 9


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("family", "prefix", "hidden_act", "activation"),
    [
        ("llama", "Llama", "silu", "silu"),
        ("llama", "Llama", "gelu", "gelu"),
        ("gemma", "Gemma", "gelu_pytorch_tanh", "gelu_tanh"),
    ],
)
def test_glu_is_the_mlp(
    family: str, prefix: str, hidden_act: str, activation: Activation, dtype: torch.dtype
) -> None:
    config = tiny_config(family, hidden_act=hidden_act)
    mlp = getattr(modeling(family), f"{prefix}MLP")(config).to(dtype)
    mlp.down_proj = nn.Identity()
    x_TK = 3 * random(7, 96, dtype=dtype)
    y_TN = torch.cat((mlp.gate_proj(x_TK), mlp.up_proj(x_TK)), dim=1)
    assert torch.equal(reference_rows.glu(y_TN, activation=activation), mlp(x_TK))
