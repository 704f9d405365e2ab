"""Greedy answers of the committed base and adapters, by transformers and PEFT alone."""

from dataclasses import dataclass
from functools import cache

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from weft.demo.places import ADAPTERS, BASE
from weft.demo.tokenizer import END, SPECIAL

MAX_TOKENS = 120
END_ID = SPECIAL.index(END)


@dataclass(frozen=True, slots=True)
class Question:
    """A message that no training text has, and what an answer must copy from it."""

    order: str
    product: str
    text: str


QUESTIONS = (
    Question(
        "48213",
        "Nimbus kettle",
        "Hello, my order number is 48213. The Nimbus kettle does not switch on. What can I do?",
    ),
    Question(
        "90716",
        "Tern backpack",
        "Hi, I am still waiting for the Tern backpack from order 90716. Thanks!",
    ),
    Question(
        "35528",
        "Cedar desk",
        "Good morning, the Cedar desk from order #35528 arrived with a scratch.",
    ),
    Question(
        "7041",
        "Onyx speaker",
        "Can you check my order no. 7041, the Onyx speaker? Best wishes, Nora",
    ),
)


@cache
def answer(text: str, adapter: str | None = None) -> str:
    """Answer one message with the base or an adapter; the end token is part of the answer."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    answered = tokenizer.decode(generate(load(adapter), tokenizer.encode(prompt)))
    assert isinstance(answered, str)
    return answered


@cache
def load(adapter: str | None) -> nn.Module:
    """Load the base in float32, with an adapter on it or without."""
    model = AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32)
    if adapter is None:
        return model
    return PeftModel.from_pretrained(model, str(ADAPTERS / adapter))


@torch.no_grad()
def generate(model: nn.Module, prompt: list[int]) -> list[int]:
    """Take the likeliest token until the end token, or MAX_TOKENS of them."""
    ids = list(prompt)
    for _ in range(MAX_TOKENS):
        logits_1TV = model(input_ids=torch.tensor([ids]), use_cache=False).logits
        ids.append(int(logits_1TV[0, -1].argmax()))
        if ids[-1] == END_ID:
            break
    return ids[len(prompt) :]
