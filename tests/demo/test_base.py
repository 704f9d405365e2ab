"""The committed base: small, bfloat16, fluent, and it copies what the customer said."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from weft.demo.places import BASE
from weft.demo.recipe import Recipe
from weft.demo.tokenizer import CHAT_TEMPLATE

from .answering import QUESTIONS, Question, answer


def test_the_base_takes_at_most_8_mb() -> None:
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= 8_000_000


def test_every_tensor_is_bfloat16() -> None:
    tensors = load_file(BASE / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}


def test_the_tokenizer_is_the_recipes() -> None:
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    assert len(tokenizer) == Recipe().vocabulary
    assert tokenizer.chat_template == CHAT_TEMPLATE
    assert tokenizer.tokenize("48213") == list("48213")


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.order)
def test_the_answer_names_the_order_and_the_product_and_ends(question: Question) -> None:
    answered = answer(question.text)
    assert question.order in answered
    assert question.product in answered
    assert answered.endswith("<|end|>")
    assert answered.startswith("Thank you for ")
