"""The tokenizer spells numbers out, and its template marks what the assistant says."""

from functools import cache

import jinja2
import pytest
from transformers import PreTrainedTokenizerFast

from weft.demo.tokenizer import SPECIAL, train_tokenizer

from .rendering import render


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    texts = ["order 48213 has left", "order 48213 is here", "order 48213 48213"] * 20
    return train_tokenizer(texts, vocabulary=300, context=64)


def test_every_digit_is_a_token_however_often_the_number_was_seen() -> None:
    tokens = tokenizer().tokenize("order 48213")
    assert tokens[-5:] == ["4", "8", "2", "1", "3"]


@pytest.mark.parametrize("text", ["order #48213, zip 007!", "größe 漢字 🙂", " two  spaces\n"])
def test_text_comes_back(text: str) -> None:
    ids = tokenizer().encode(text)
    assert tokenizer().decode(ids) == text


def test_special_tokens_come_first() -> None:
    assert tokenizer().convert_ids_to_tokens(list(range(len(SPECIAL)))) == SPECIAL


def test_template_marks_answers_with_their_end() -> None:
    rendered = render(
        tokenizer(),
        [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": "order 1"},
            {"role": "assistant", "content": "order 2"},
        ],
    )
    trained = [i for i, marked in zip(rendered.ids, rendered.mask, strict=True) if marked]
    text = "<|system|>be brief<|end|><|user|>order 1<|end|><|assistant|>order 2<|end|>"
    assert tokenizer().decode(rendered.ids) == text
    assert tokenizer().decode(trained) == "order 2<|end|>"


def test_template_opens_the_answer() -> None:
    asked = [{"role": "user", "content": "order 1"}]
    text = tokenizer().apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>order 1<|end|><|assistant|>"


def test_template_refuses_a_role_that_it_was_not_taught() -> None:
    with pytest.raises(jinja2.TemplateError, match="no role tool"):
        tokenizer().apply_chat_template([{"role": "tool", "content": "1"}])
