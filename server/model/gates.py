"""The first three of the four gates that a model must pass before it is served.

1. config: only full and sliding attention, no RoPE that depends on the longest row of a step.
2. class: attention goes through the interface of transformers.
3. calls: attention is called once per layer, without a mask, with the window that config states.

None is enough alone; the fourth, the load probe, compares logits. A refusal names gate and value.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from weft.server.errors import ModelRefused

from .kv_cache import AttentionLayer

SERVED_LAYERS = frozenset({"full_attention", "sliding_attention"})
FLAG_MISSING_BUT_TESTED = frozenset({"stablelm", "biogpt"})
"""Families whose class does not claim support and which pass the family test all the same."""


def open_architecture(path: Path) -> tuple[PretrainedConfig, PreTrainedModel]:
    """Read the config and build the model on the meta device: no weights are read.

    Raises:
        ModelRefused: By gate 1 or 2, or because transformers knows no such causal model.
    """
    try:
        config = AutoConfig.from_pretrained(path)
        check_config(config)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (ValueError, OSError) as err:
        raise ModelRefused(f"transformers cannot open {path} as a causal model: {err}") from err
    check_class(model)
    return config, model


def check_config(config: PretrainedConfig) -> None:
    """Gate 1."""
    text = config.get_text_config()
    if getattr(config, "quantization_config", None) is not None:
        raise ModelRefused("gate 1 (config): quantization_config is set; only plain checkpoints")
    layer_types = set(getattr(text, "layer_types", None) or ())
    if unserved := sorted(layer_types - SERVED_LAYERS):
        raise ModelRefused(
            f"gate 1 (config): layer_types has {', '.join(unserved)}; "
            f"served: {', '.join(sorted(SERVED_LAYERS))}"
        )
    for rope_type in rope_types(text):
        if "dynamic" in rope_type:
            raise ModelRefused(
                f"gate 1 (config): rope_type is {rope_type}; one long sequence would change the "
                "frequencies of the others"
            )


def rope_types(config: PretrainedConfig) -> list[str]:
    """The RoPE types that the config names: one, or one per type of layer."""
    parameters = getattr(config, "rope_parameters", None)
    if not isinstance(parameters, Mapping):
        return []
    nested = [value for value in parameters.values() if isinstance(value, Mapping)]
    return [str(entry.get("rope_type", "default")) for entry in nested or [parameters]]


def check_class(model: PreTrainedModel) -> None:
    """Gate 2."""
    family = model.config.model_type
    if not model._supports_attention_backend and family not in FLAG_MISSING_BUT_TESTED:
        raise ModelRefused(
            f"gate 2 (class): {type(model).__name__} does not support an attention interface"
        )


def check_layers(layers: Sequence[AttentionLayer], config: PretrainedConfig) -> None:
    """Gate 3: every layer once, with the window that its type in the config has."""
    text = config.get_text_config()
    indices = sorted(layer.index for layer in layers)
    if indices != list(range(text.num_hidden_layers)):
        raise ModelRefused(
            f"gate 3 (calls): attention ran in layers {indices}, "
            f"once each of {text.num_hidden_layers} was expected"
        )
    for layer in layers:
        expected = _window(text, layer.index)
        if layer.window != expected:
            raise ModelRefused(
                f"gate 3 (calls): layer {layer.index} attends with window {layer.window}; "
                f"the config says {expected}"
            )


def _window(config: PretrainedConfig, index: int) -> int | None:
    layer_types = getattr(config, "layer_types", None)
    sliding = layer_types is None or layer_types[index] == "sliding_attention"
    window: int | None = getattr(config, "sliding_window", None)
    return window if sliding and getattr(config, "use_sliding_window", True) else None
