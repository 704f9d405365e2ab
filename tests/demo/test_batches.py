"""Rows are what the chat template gives, and batches lose none of them."""

from itertools import islice
from random import Random

import pytest
import torch

from weft.demo.batches import Row, cut_rows, encode_dialogue, make_batches, pad_rows
from weft.demo.dialogues import STYLES, generate_dialogues
from weft.demo.tokenizer import train_tokenizer

from .rendering import render


@pytest.mark.parametrize("style", STYLES)
def test_a_row_is_the_rendered_template_and_weighs_answers(style: str) -> None:
    dialogues = list(islice(generate_dialogues("batches", style=style, system=True), 40))
    texts = [message["content"] for dialogue in dialogues for message in dialogue.messages]
    tokenizer = train_tokenizer(texts, vocabulary=400, context=512)
    for dialogue in dialogues:
        row = encode_dialogue(tokenizer, dialogue, asked_weight=0.25)
        rendered = render(tokenizer, dialogue.messages)
        assert row.tokens == rendered.ids
        assert [int(weight == 1) for weight in row.weights] == rendered.mask
        assert set(row.weights) == {0.0, 0.25, 1.0}


def test_every_row_is_in_one_batch() -> None:
    rows = [Row([i + 1] * (1 + i % 7), [1.0] * (1 + i % 7)) for i in range(300)]
    batches = list(make_batches(iter(rows), Random(0), batch_tokens=32))
    seen = sorted(int(tokens_T[0]) for batch in batches for tokens_T in batch.tokens_BT)
    assert seen == list(range(1, 301))
    assert all(batch.tokens_BT.numel() <= 32 for batch in batches)


def test_a_row_longer_than_a_batch_stands_alone() -> None:
    rows = [Row([1] * length, [1.0] * length) for length in (2, 2, 50)]
    assert [len(batch) for batch in cut_rows(rows, 8)] == [2, 1]


def test_padding_weighs_nothing() -> None:
    batch = pad_rows([Row([5, 6, 7], [0.0, 1.0, 1.0]), Row([8], [1.0])])
    torch.testing.assert_close(batch.tokens_BT, torch.tensor([[5, 6, 7], [8, 0, 0]]))
    torch.testing.assert_close(batch.weights_BT, torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
