"""Every family that is served equals Hugging Face + PEFT; every other is refused, with the gate."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from tests.tiny import save_tiny_adapter, save_tiny_model
from weft.adapters.sites import BaseFacts
from weft.server.errors import ModelRefused

from .stepping import Played, make_arena, open_model, play, random_tokens, stock_logits

LENGTHS = (23, 9, 16, 12)
TOLERANCE = 1e-4  # of a log probability; logits of the tiny models are of size 1


@dataclass(frozen=True, slots=True)
class Family:
    """A model type and what its tiny config needs; `adapters` is False where no Linear is."""

    name: str
    config: dict[str, object] = field(default_factory=dict)
    adapters: bool = True


WINDOW: dict[str, object] = {"sliding_window": 8, "head_dim": 16}
MIXED: dict[str, object] = WINDOW | {"layer_types": ["sliding_attention", "full_attention"]}
EXPERTS: dict[str, object] = {"num_local_experts": 4, "num_experts_per_tok": 2}

SERVED = [
    Family("llama"),
    Family("mistral", WINDOW),
    Family("qwen2"),
    Family("qwen3"),
    Family("phi3", {"sliding_window": 8}),
    Family("gemma"),
    Family("gemma2", MIXED),
    Family("gemma3_text", MIXED),
    Family("gemma4_text", MIXED | {"global_head_dim": 32, "hidden_size_per_layer_input": 0}),
    Family("olmo2"),
    Family("olmo3", MIXED),
    Family("granite"),
    Family("glm4", {"head_dim": 16}),
    Family("cohere2", MIXED),
    Family("starcoder2", {"sliding_window": 8}),
    Family("smollm3"),
    Family("qwen3_moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}),
    Family("mixtral", EXPERTS | {"sliding_window": 8}),
    Family("gpt_oss", MIXED | EXPERTS),
    Family("ministral3", {"head_dim": 16}),
    Family("exaone4", MIXED),
    Family("gpt_neox"),
    Family("phi"),
    Family("opt", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    Family("gpt2", adapters=False),
    Family("hunyuan_v1_dense", {"head_dim": 16}),
    Family("ernie4_5", {"head_dim": 16}),
    Family("seed_oss", {"head_dim": 16}),
    Family("nemotron"),
    Family("stablelm"),
]

REFUSED = [
    (Family("minimax"), "gate 1 .* linear_attention"),
    # transformers 5.17 names no layer types for it: there its attention is found never to run
    (Family("recurrent_gemma"), r"gate 1 .* linear_attention|gate 3 \(calls\): .* in layers \[\]"),
    (Family("falcon_h1"), "gate 1 .* hybrid"),
    (Family("qwen3_next"), "gate 1 .* linear_attention"),
    (Family("llama4_text"), "gate 1 .* chunked_attention"),
    (
        Family(
            "llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}
        ),
        "gate 1 .* rope_type is dynamic",
    ),
    (Family("bloom"), "gate 2 .* BloomForCausalLM"),
    (Family("falcon"), "gate 2 .* FalconForCausalLM"),
    (Family("gptj"), "gate 2 .* GPTJForCausalLM"),
    (Family("doge"), "gate 3 .* DogeAttention passes a mask"),
    (Family("diffllama"), r"gate 3 .* \[0, 0, 1, 1\]"),
]


@pytest.mark.parametrize("family", SERVED, ids=lambda family: family.name)
def test_packed_chunked_mixed_batch_equals_stock_run_singly(family: Family, tmp_path: Path) -> None:
    folder = save_tiny_model(family.name, tmp_path / "base", seed=0, **family.config)
    loaded = open_model(folder)
    adapters = save_adapters(folder, loaded.facts, tmp_path) if family.adapters else []
    slots = [*range(len(adapters)), *[None] * (len(LENGTHS) - len(adapters))]
    tokens = random_tokens(loaded.facts, LENGTHS)
    arena = make_arena(loaded.facts, adapters, torch.float32) if adapters else None
    sequences = [Played(t, slot) for t, slot in zip(tokens, slots, strict=True)]
    for played, logits in zip(sequences, play(loaded, sequences, arena), strict=True):
        adapter = None if played.slot is None else adapters[played.slot]
        expected = stock_logits(folder, played.tokens, adapter).log_softmax(-1)
        torch.testing.assert_close(logits.log_softmax(-1), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("family", "reason"), REFUSED, ids=[f"{f.name}-{r.split(' ')[1]}" for f, r in REFUSED]
)
def test_unserved_family_is_refused_naming_gate_and_value(
    family: Family, reason: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(family.name, tmp_path, seed=0, **family.config)
    with pytest.raises(ModelRefused, match=reason):
        open_model(folder)


def save_adapters(folder: Path, facts: BaseFacts, tmp_path: Path) -> list[Path]:
    """Rank 4 on every Linear, rank 16 on the first site's outer members, rank 7 on half of all."""
    names = [member.name for site in facts.sites for member in site.members]
    first = [member.name for member in facts.sites[0].members]
    loras = [
        LoraConfig(r=4, lora_alpha=8, target_modules=names),
        LoraConfig(r=16, lora_alpha=16, target_modules=[first[0], first[-1]]),
        LoraConfig(r=7, lora_alpha=3, target_modules=names[::2]),
    ]
    return [
        save_tiny_adapter(folder, tmp_path / f"adapter-{i}", lora, seed=i)
        for i, lora in enumerate(loras)
    ]
