"""The recipe of the demo's base model: a small Llama that has read the shop's dialogues."""

import copy
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from .batches import Batch, Row, encode_dialogue, make_batches
from .dialogues import AGENT, ECHO, STYLES, Dialogue, generate_dialogues
from .tokenizer import train_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with an optimizer of its own.

    Attributes:
        part: Names the stream of dialogues.
        horizon: Step at which the cosine would have come down; the stage may end before.
        echo_steps: How many of the steps, the first ones, are on repetitions alone: the model
            learns to copy within minutes there, and not in an hour from dialogues only.
    """

    part: str
    steps: int
    horizon: int
    learning_rate: float
    warmup_steps: int
    echo_steps: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that the base model depends on.

    Attributes:
        others: Share of dialogues that a system line opens: every style, and repetitions.
        echo_weight: How many repetitions there are for each such dialogue of another style.
        asked_weight: Loss weight of what is not an answer.
        tokenizer_dialogues: How many dialogues the tokenizer is trained on.
        stages: Between them the weights are rounded to bfloat16, as they are saved.
    """

    seed: int = 20
    vocabulary: int = 1024
    hidden: int = 192
    intermediate: int = 512
    layers: int = 6
    heads: int = 6
    kv_heads: int = 2
    context: int = 1024
    others: float = 0.4
    echo_weight: float = 3.0
    asked_weight: float = 0.1
    tokenizer_dialogues: int = 6000
    batch_tokens: int = 2048
    echo_batch_tokens: int = 1024
    weight_decay: float = 0.05
    stages: tuple[Stage, ...] = (
        Stage("train", 1500, 3000, learning_rate=3e-3, warmup_steps=100, echo_steps=400),
        Stage("finish", 500, 500, learning_rate=2e-3, warmup_steps=25),
    )


def build_base(recipe: Recipe, folder: Path) -> None:
    """Train the base model and save it, with its tokenizer, in `folder`; log the loss."""
    tokenizer = build_tokenizer(recipe)
    model = build_model(recipe, tokenizer)
    for stage in recipe.stages:
        train(recipe, stage, model, tokenizer)
        save_base(model, tokenizer, folder)
        round_weights(model)


def train(
    recipe: Recipe, stage: Stage, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Train the model in place through one stage."""
    optimizer = build_optimizer(recipe, stage, model)
    schedule = LambdaLR(optimizer, lambda step: rate(stage, step))
    batches = read_batches(recipe, stage, tokenizer)
    for step, batch in enumerate(islice(batches, stage.steps), start=1):
        loss = train_step(model, batch, optimizer)
        schedule.step()
        if step % 50 == 0:
            log.info("%s: step %d of %d, loss %.3f", stage.part, step, stage.steps, loss)


def build_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """Train the tokenizer on dialogues of its own."""
    dialogues = islice(mix_dialogues(recipe, "tokenizer"), recipe.tokenizer_dialogues)
    texts = (message["content"] for dialogue in dialogues for message in dialogue.messages)
    return train_tokenizer(texts, vocabulary=recipe.vocabulary, context=recipe.context)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Make the untrained model, in float32."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.hidden,
        intermediate_size=recipe.intermediate,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def build_optimizer(recipe: Recipe, stage: Stage, model: LlamaForCausalLM) -> torch.optim.AdamW:
    """Make AdamW, with decay for the projections only."""
    projections = {name: p for name, p in model.named_parameters() if "proj" in name}
    others = [p for name, p in model.named_parameters() if name not in projections]
    groups: list[dict[str, object]] = [
        {"params": list(projections.values())},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=stage.learning_rate,
        betas=(0.9, 0.95),
        weight_decay=recipe.weight_decay,
    )


def rate(stage: Stage, step: int) -> float:
    """Give the factor of the learning rate: a linear rise, and a cosine down to 5 %."""
    warm = min(1.0, (step + 1) / stage.warmup_steps)
    return warm * (0.05 + 0.475 * (1 + math.cos(math.pi * step / stage.horizon)))


def mix_dialogues(recipe: Recipe, part: str) -> Iterator[Dialogue]:
    """Yield what the base reads: the agent's answers, other styles and repetitions on request."""
    seed = f"{recipe.seed}/{part}"
    rng = Random(seed)
    agent = generate_dialogues(seed, style=AGENT)
    others = [generate_dialogues(seed, style=style, system=True) for style in STYLES]
    weights = [recipe.echo_weight if style == ECHO else 1.0 for style in STYLES]
    while True:
        is_other = rng.random() < recipe.others
        yield next(rng.choices(others, weights)[0] if is_other else agent)


def read_batches(
    recipe: Recipe, stage: Stage, tokenizer: PreTrainedTokenizerFast
) -> Iterator[Batch]:
    """Yield the batches of a stage: repetitions, then the mix."""
    seed = f"{recipe.seed}/{stage.part}"
    echoes = encode_all(recipe, tokenizer, generate_dialogues(seed, style=ECHO))
    mixed = encode_all(recipe, tokenizer, mix_dialogues(recipe, stage.part))
    rng = Random(f"{seed}/order")
    first = make_batches(echoes, rng, batch_tokens=recipe.echo_batch_tokens)
    yield from islice(first, stage.echo_steps)
    yield from make_batches(mixed, rng, batch_tokens=recipe.batch_tokens)


def encode_all(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, dialogues: Iterator[Dialogue]
) -> Iterator[Row]:
    """Yield the rows of dialogues."""
    for dialogue in dialogues:
        yield encode_dialogue(tokenizer, dialogue, asked_weight=recipe.asked_weight)


def train_step(model: LlamaForCausalLM, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    """Take one optimizer step; the loss is the weighted mean over the batch's targets.

    Padding is on the right, so the causal mask alone keeps it from every real token.
    """
    logits_BTV = model(input_ids=batch.tokens_BT, use_cache=False).logits[:, :-1]
    losses = cross_entropy(
        logits_BTV.flatten(0, 1), batch.tokens_BT[:, 1:].flatten(), reduction="none"
    )
    weights = batch.weights_BT[:, 1:].flatten()
    loss = (losses * weights).sum() / weights.sum()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def save_base(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save in bfloat16, as it is served and committed."""
    copy.deepcopy(model).bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def round_weights(model: LlamaForCausalLM) -> None:
    """Round the weights to what is saved of them; buffers, such as RoPE's, stay exact."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.bfloat16())
