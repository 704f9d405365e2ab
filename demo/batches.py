"""Dialogues as rows of tokens, and rows as padded batches. Shapes: B rows, T tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .dialogues import Dialogue

POOL_ROWS = 1024  # rows sorted by length together: little padding, order still random


@dataclass(frozen=True, slots=True)
class Row:
    """A dialogue's token ids, and the loss weight of each as a target."""

    tokens: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows padded on the right; weight 0 where there is nothing to learn.

    Attributes:
        tokens_BT: int64.
        weights_BT: float32.
    """

    tokens_BT: Tensor
    weights_BT: Tensor


def make_batches(rows: Iterator[Row], rng: Random, *, batch_tokens: int) -> Iterator[Batch]:
    """Yield batches of at most `batch_tokens` with their padding, of rows of about one length."""
    while pool := sorted(islice(rows, POOL_ROWS), key=lambda row: len(row.tokens)):
        batches = list(cut_rows(pool, batch_tokens))
        rng.shuffle(batches)
        yield from map(pad_rows, batches)


def encode_dialogue(
    tokenizer: PreTrainedTokenizerFast, dialogue: Dialogue, *, asked_weight: float
) -> Row:
    """Encode as the chat template does; what is not an answer weighs `asked_weight`."""
    tokens: list[int] = []
    weights: list[float] = []
    for message in dialogue.messages:
        role = f"<|{message['role']}|>"
        content = tokenizer.encode(message["content"] + tokenizer.eos_token)
        weight = 1.0 if message["role"] == "assistant" else asked_weight
        tokens += [*tokenizer.encode(role), *content]
        weights += [0.0, *[weight] * len(content)]
    return Row(tokens, weights)


def cut_rows(rows: list[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Cut rows, sorted by length, where the next row's length times their number is too much."""
    batch: list[Row] = []
    for row in rows:
        if batch and (len(batch) + 1) * len(row.tokens) > batch_tokens:
            yield batch
            batch = []
        batch.append(row)
    yield batch


def pad_rows(rows: list[Row]) -> Batch:
    """Pad on the right with token 0."""
    length = max(len(row.tokens) for row in rows)
    tokens_BT = torch.zeros(len(rows), length, dtype=torch.int64)
    weights_BT = torch.zeros(len(rows), length)
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row.tokens)] = torch.tensor(row.tokens)
        weights_BT[i, : len(row.weights)] = torch.tensor(row.weights)
    return Batch(tokens_BT, weights_BT)
