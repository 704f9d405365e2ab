"""The recipe is seeded, its loss falls, and what it saves loads as it was."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from weft.demo.recipe import (
    Recipe,
    Stage,
    build_base,
    build_model,
    build_optimizer,
    build_tokenizer,
    mix_dialogues,
    rate,
    read_batches,
    round_weights,
    save_base,
    train_step,
)

SMALL = Recipe(
    vocabulary=320,
    hidden=32,
    intermediate=64,
    layers=2,
    heads=2,
    kv_heads=1,
    tokenizer_dialogues=50,
    batch_tokens=512,
    echo_batch_tokens=256,
    stages=(
        Stage("train", 2, 4, learning_rate=3e-3, warmup_steps=1, echo_steps=1),
        Stage("finish", 1, 1, learning_rate=1e-3, warmup_steps=1),
    ),
)
FIRST = SMALL.stages[0]


def test_one_recipe_gives_one_base_bit_for_bit(tmp_path: Path) -> None:
    for name in ("first", "second"):
        build_base(SMALL, tmp_path / name)
    build_base(replace(SMALL, seed=21), tmp_path / "other")
    first, second, other = (
        (tmp_path / name / "model.safetensors").read_bytes()
        for name in ("first", "second", "other")
    )
    assert first == second
    assert first != other


def test_the_saved_base_is_bfloat16_with_its_tokenizer(tmp_path: Path) -> None:
    build_base(SMALL, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.dtype is torch.bfloat16
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert len(tokenizer) == model.config.vocab_size == SMALL.vocabulary
    assert "{% generation %}" in tokenizer.chat_template


def test_the_next_stage_starts_from_what_was_saved(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(SMALL)
    model = build_model(SMALL, tokenizer)
    save_base(model, tokenizer, tmp_path)
    round_weights(model)
    saved = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens_BT = next(read_batches(SMALL, FIRST, tokenizer)).tokens_BT
    torch.testing.assert_close(model(tokens_BT).logits, saved(tokens_BT).logits, rtol=0, atol=0)


def test_the_loss_falls() -> None:
    tokenizer = build_tokenizer(SMALL)
    model = build_model(SMALL, tokenizer)
    optimizer = build_optimizer(SMALL, FIRST, model)
    batch = next(read_batches(SMALL, FIRST, tokenizer))
    losses = [train_step(model, batch, optimizer) for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


def test_repetitions_come_first_then_the_mix() -> None:
    tokenizer = build_tokenizer(SMALL)
    stage = replace(FIRST, echo_steps=3)
    batches = list(islice(read_batches(SMALL, stage, tokenizer), 12))
    system = tokenizer.convert_tokens_to_ids("<|system|>")
    opened = [system in batch.tokens_BT[:, 0].tolist() for batch in batches]
    assert not any(opened[: stage.echo_steps])
    assert any(opened[stage.echo_steps :])


def test_the_mix_has_the_stated_shares() -> None:
    dialogues = list(islice(mix_dialogues(SMALL, "train"), 2000))
    opened = [d for d in dialogues if d.messages[0]["role"] == "system"]
    echoes = [d for d in opened if "epeat" in d.messages[0]["content"]]
    assert len(opened) / len(dialogues) == pytest.approx(SMALL.others, abs=0.04)
    assert len(echoes) / len(opened) == pytest.approx(SMALL.echo_weight / 8, abs=0.05)


def test_parts_differ() -> None:
    train = list(islice(mix_dialogues(SMALL, "train"), 50))
    assert train != list(islice(mix_dialogues(SMALL, "held-out"), 50))


def test_learning_rate_rises_then_falls_to_a_twentieth_at_the_horizon() -> None:
    stage = replace(FIRST, horizon=1000, warmup_steps=100)
    rates = [rate(stage, step) for step in range(stage.horizon + 1)]
    assert rates.index(max(rates)) in range(90, 101)
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert rates[-1] == pytest.approx(0.05)
