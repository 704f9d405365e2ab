"""What single requests answer, on a server that does nothing else: the truth of a soak."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weft.client import Answer, AsyncClient, Sampling, Stopping

MIN_LEAD = 1e-3
"""Of the likeliest token's log-probability: closer ones may change places with the batch."""
TRIES = 50


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its greedy answer by one content."""

    tokens: tuple[int, ...]
    answer: tuple[int, ...]


async def find_questions(
    client: AsyncClient, model: str, *, num: int, vocab_size: int, draw: np.random.Generator
) -> list[Question]:
    """Ask random prompts one by one, and keep those whose every token leads clearly.

    Raises:
        ValueError: TRIES of them for each were not enough.
    """
    found: list[Question] = []
    for _ in range(TRIES * num):
        tokens = tuple(draw.integers(vocab_size, size=int(draw.integers(4, 120))).tolist())
        answer = await ask(client, model, tokens, int(draw.integers(4, 32)), logprobs=2)
        if least_lead(answer) >= MIN_LEAD:
            found.append(Question(tokens, answer_tokens(answer)))
            if len(found) == num:
                return found
    raise ValueError(f"{model} answers {len(found)} of {num} prompts clearly")


async def ask(
    client: AsyncClient,
    model: str,
    tokens: Sequence[int],
    num_tokens: int,
    *,
    logprobs: int | None = None,
    n: int = 1,
) -> Answer:
    """Ask for the likeliest tokens, `n` times over."""
    more = {} if logprobs is None else {"logprobs": logprobs}
    return await client.complete(
        model,
        tokens=tokens,
        sampling=Sampling(temperature=0),
        stopping=Stopping(max_tokens=num_tokens, ignore_end_token=True),
        n=n,
        **more,  # type: ignore[arg-type]
    )


def answer_tokens(answer: Answer, index: int = 0) -> tuple[int, ...]:
    return tuple(answer.completions[index].token_ids)


def least_lead(answer: Answer) -> float:
    """How far the chosen tokens were ahead of the next ones, at the closest."""
    leads = []
    for entry in answer.completions[0].logprobs:
        others = [
            other.logprob for other in entry.alternatives if other.token_id != entry.chosen.token_id
        ]
        if others:
            leads.append(entry.chosen.logprob - max(others))
    return min(leads, default=0.0)
