"""The dry run records what each layer asks, whatever the config calls it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model
from weft.server.errors import ModelRefused
from weft.server.model.kv_cache import AttentionLayer
from weft.server.model.recorder import Recorder, record_layers

TOKENS_T = torch.arange(6)


def record(folder: Path) -> tuple[AttentionLayer, ...]:
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    return record_layers(model, TOKENS_T)


def test_layers_differ_within_a_model(tmp_path: Path) -> None:
    types = ["sliding_attention", "full_attention"]
    folder = save_tiny_model(
        "gemma2", tmp_path, seed=0, sliding_window=8, head_dim=16, layer_types=types
    )
    first, second = record(folder)
    assert (first.index, first.window) == (0, 8)
    assert (second.index, second.window) == (1, None)
    assert first.softcap == 50.0
    assert first.scaling == 256**-0.5  # of query_pre_attn_scalar, not of the head size
    assert (first.num_heads, first.num_kv_heads, first.head_dim, first.v_head_dim) == (4, 2, 16, 16)


def test_sinks_are_noticed(tmp_path: Path) -> None:
    folder = save_tiny_model("gpt_oss", tmp_path, seed=0, head_dim=16)
    assert all(layer.sinks for layer in record(folder))


class Numberless(torch.nn.Module):
    pass


class Numbered(Numberless):
    layer_idx = 0


def heads(count: int) -> Tensor:
    return torch.zeros(1, count, 3, 8)


def test_mask_or_missing_number_is_refused() -> None:
    qkv = heads(4), heads(2), heads(2)
    with pytest.raises(ModelRefused, match=r"gate 3 .* Numbered passes a mask of \(3, 3\)"):
        Recorder().attend(Numbered(), *qkv, torch.zeros(3, 3))
    with pytest.raises(ModelRefused, match=r"gate 3 .* Numberless has layer_idx None"):
        Recorder().attend(Numberless(), *qkv)


def test_scaling_defaults_to_that_of_the_head_size() -> None:
    recorder = Recorder()
    out, _ = recorder.attend(Numbered(), heads(4), heads(2), heads(2))
    assert out.shape == (1, 3, 4, 8)
    assert recorder.layers[0].scaling == 8**-0.5
