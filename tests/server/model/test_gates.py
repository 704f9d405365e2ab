"""Each gate refuses what it is there for, naming the value; the families are in test_families."""

from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoConfig, PretrainedConfig

from tests.tiny import save_tiny_model
from weft.server.errors import ModelRefused
from weft.server.model.gates import check_config, check_layers, open_architecture, rope_types
from weft.server.model.kv_cache import AttentionLayer

LAYER = AttentionLayer(
    index=0,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    v_head_dim=16,
    scaling=0.25,
    window=None,
    softcap=None,
    sinks=False,
)


def config(family: str = "llama", **fields: object) -> PretrainedConfig:
    return AutoConfig.for_model(family, num_hidden_layers=2, **fields)


def test_quantised_checkpoint_is_refused() -> None:
    quantised = config()
    quantised.quantization_config = {"quant_method": "awq"}
    with pytest.raises(ModelRefused, match=r"gate 1 .* quantization_config"):
        check_config(quantised)


def test_rope_types_are_found_flat_and_per_layer_type() -> None:
    assert rope_types(config()) == ["default"]
    assert rope_types(config("gemma3_text")) == ["default", "default"]
    assert rope_types(config("opt")) == []


def test_each_layer_must_attend_once() -> None:
    check_layers([LAYER, replace(LAYER, index=1)], config())
    for indices in ([0], [0, 0, 1], [1, 2]):
        with pytest.raises(ModelRefused, match=r"gate 3 .* once each of 2"):
            check_layers([replace(LAYER, index=i) for i in indices], config())


@pytest.mark.parametrize("windows", [(None, None), (8, 8), (4, None)])
def test_window_must_be_the_one_that_the_config_states(windows: tuple[int | None, ...]) -> None:
    stated = config("gemma2", sliding_window=8, layer_types=["sliding_attention", "full_attention"])
    layers = [replace(LAYER, index=i, window=window) for i, window in enumerate(windows)]
    with pytest.raises(ModelRefused, match=r"gate 3 .* attends with window"):
        check_layers(layers, stated)
    check_layers([replace(LAYER, window=8), replace(LAYER, index=1)], stated)


def test_window_that_is_switched_off_counts_as_none() -> None:
    layers = [LAYER, replace(LAYER, index=1)]
    check_layers(layers, config("qwen2_moe", sliding_window=8, use_sliding_window=False))


def test_what_transformers_does_not_know_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    with pytest.raises(ModelRefused, match="no-such-family"):
        open_architecture(tmp_path)


def test_model_without_a_causal_head_is_refused(tmp_path: Path) -> None:
    config("t5").save_pretrained(tmp_path)
    with pytest.raises(ModelRefused, match="causal"):
        open_architecture(tmp_path)


def test_tested_family_without_the_flag_is_admitted(tmp_path: Path) -> None:
    _, model = open_architecture(save_tiny_model("stablelm", tmp_path))
    assert not model._supports_attention_backend
