"""The load probe refuses a model that is wrong, and takes back a swap that is."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from weft.server.errors import ModelRefused
from weft.server.model.attention import PagedAttention
from weft.server.model.attention_cpu import CpuAttention
from weft.server.model.kv_cache import AttentionLayer
from weft.server.model.load_probe import (
    PROMPT_TOKENS,
    check_logits,
    logits_error,
    probe_prompts,
    run_packed,
)
from weft.server.model.loader import LoadedModel
from weft.server.model.lora_linear import SiteStep
from weft.server.model.recorder import record_layers

from .stepping import open_model, stock_logits

CPU = torch.device("cpu")


def test_prompts_are_the_same_at_every_load() -> None:
    first, again = probe_prompts(100, CPU), probe_prompts(100, CPU)
    assert [len(tokens) for tokens in first] == list(PROMPT_TOKENS)
    assert all(map(torch.equal, first, again))


def test_packed_run_gives_every_row_of_every_prompt(tiny_llama: Path) -> None:
    loaded = open_model(tiny_llama)
    prompts = probe_prompts(loaded.facts.vocab_size, CPU)
    found = run_packed(loaded.forward_base, prompts, loaded.layers, torch.float32)
    expected = [stock_logits(tiny_llama, tokens) for tokens in prompts]
    assert [len(logits) for logits in found] == list(PROMPT_TOKENS)
    assert logits_error(found, expected) < 1e-5
    check_logits(found, expected, torch.float32)


WRONG: dict[str, Callable[[AttentionLayer], AttentionLayer]] = {
    "scaling": lambda layer: replace(layer, scaling=0.24),
    "window": lambda layer: replace(layer, window=8),
    "softcap": lambda layer: replace(layer, softcap=5.0),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_slightly_wrong_attention_is_refused(wrong: str, tiny_llama: Path) -> None:
    facts = open_model(tiny_llama).facts
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, attn_implementation="eager")
    prompts = probe_prompts(facts.vocab_size, CPU)
    right = record_layers(model, prompts[0])
    attention = PagedAttention(tuple(map(WRONG[wrong], right)), CpuAttention(torch.float32))
    loaded = LoadedModel(model, facts, attention, [], SiteStep())
    found = run_packed(loaded.forward_base, prompts, loaded.layers, torch.float32)
    expected = [stock_logits(tiny_llama, tokens) for tokens in prompts]
    with pytest.raises(ModelRefused, match=r"gate 4 .* 0.0001 is the limit in torch.float32"):
        check_logits(found, expected, torch.float32)


def test_logits_that_are_not_finite_never_pass() -> None:
    ones = [torch.ones(2, 3)]
    assert logits_error([torch.full((2, 3), math.nan)], ones) == math.inf
    with pytest.raises(ModelRefused, match="by inf"):
        check_logits([torch.full((2, 3), math.nan)], ones, torch.bfloat16)
