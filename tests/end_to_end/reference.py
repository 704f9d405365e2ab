"""What Hugging Face and PEFT answer to one request alone, in float32, without any cache."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from weft.client import Answer

LOGPROB_TOLERANCE = 1e-4


class Greedy(NamedTuple):
    """Greedy tokens, and the log-probabilities of the whole vocabulary at each of them."""

    tokens: list[int]
    logprobs_TV: Tensor


class Reference:
    """A base, alone or with one adapter, as PEFT applies it."""

    def __init__(self, base: Path, adapter: Path | None = None) -> None:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self._model = model if adapter is None else PeftModel.from_pretrained(model, str(adapter))
        self._model.eval()

    @torch.inference_mode()
    def generate(self, prompt: list[int], num_tokens: int) -> Greedy:
        """Run the whole sequence again for every token."""
        tokens, rows = list(prompt), []
        for _ in range(num_tokens):
            logits_V = self._model(torch.tensor([tokens])).logits[0, -1]
            rows.append(logits_V.log_softmax(-1))
            tokens.append(int(logits_V.argmax()))
        return Greedy(tokens[len(prompt) :], torch.stack(rows))


def assert_equals(answer: Answer, greedy: Greedy, what: str) -> None:
    """Same tokens; log-probabilities of these and of the alternatives within the tolerance."""
    completion = answer.completions[0]
    assert completion.token_ids == greedy.tokens, what
    assert len(completion.logprobs) == len(greedy.tokens), what
    for found, wanted_V in zip(completion.logprobs, greedy.logprobs_TV, strict=True):
        likeliest = wanted_V.topk(len(found.alternatives)).values.tolist()
        assert [a.logprob for a in found.alternatives] == close_to(likeliest), what
        for entry in (found.chosen, *found.alternatives):
            assert entry.logprob == close_to(float(wanted_V[entry.token_id])), what


def close_to(logprobs: float | list[float]) -> object:
    return pytest.approx(logprobs, rel=0, abs=LOGPROB_TOLERANCE)
