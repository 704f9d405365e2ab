"""Drafts from a sequence's own text: two engines in turn, one with them and one without."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from statistics import fmean
from typing import NamedTuple

from weft.bench.cases import WEFT
from weft.bench.contest import alternate
from weft.bench.driver import Driver, Request, Run
from weft.bench.record import Cell, Ratio, Value
from weft.bench.trials import Outcome
from weft.server.channel import Sampling

from .names import DIFFERING, DRAFTED, PLAIN, RATE, RIGHT
from .workbench import Rows, Workbench

NUM_DRAFTS = 4
REPEATS = 4
BIAS = 12.0  # many times the spread of a random model's logits

Rounds = Sequence[tuple[Run, Run]]


class Text(StrEnum):
    """What is generated.

    REPEATING is the model's own greedy continuation of a phrase that its prompt has four times,
    held to the words of the phrase by a bias: random weights soon say one of them over and over.
    RANDOM is drawn at temperature 1 after random words.
    """

    REPEATING = "repeating"
    RANDOM = "random"


class Drafts(NamedTuple):
    """Of one run: how many were computed, and how many of them were right."""

    num: int
    num_right: int


def time_drafts(bench: Workbench, case: str, *, rows: Rows, text: Text) -> Outcome:
    """Run one batch on both engines in turn; no run reuses another's prefix.

    Args:
        rows: The adapter of every row.
    """
    requests = make_requests(bench, rows, text)
    tokens = max(len(request.tokens) + request.new_tokens for request in requests)
    loras = [lora for lora in rows if lora is not None]
    with ExitStack() as stack:
        drivers: dict[str, Driver] = {}
        for name, speculate in ((PLAIN, None), (drafts_name(NUM_DRAFTS), NUM_DRAFTS)):
            opened = bench.open_driver(
                num_sequences=len(rows), tokens=tokens, loras=loras, speculate=speculate
            )
            drivers[name] = stack.enter_context(opened)
            drivers[name].run(requests)  # loads the adapters, learns what a step takes
        visits = {name: partial(driver.run, requests) for name, driver in drivers.items()}
        found = alternate(visits, bench.options.rounds)
    outcome = Outcome()
    outcome.cells += make_cells(
        case,
        found,
        requests,
        parameters={
            "sequences": len(rows),
            "adapted": len(loras),
            "prompt_tokens": len(requests[0].tokens),
            "new_tokens": requests[0].new_tokens,
            "dtype": bench.options.dtype,
        },
    )
    outcome.ratios.append(make_ratio(case, found, requests))
    return outcome


def make_requests(bench: Workbench, rows: Rows, text: Text) -> list[Request]:
    """Prompts of about the grid's context."""
    grid = bench.options.grid
    if text is Text.REPEATING:
        phrases = bench.prompts(len(rows), grid.context // REPEATS)
        prompts = [phrase * REPEATS for phrase in phrases]
        samplings = [Sampling(logit_bias=dict.fromkeys(phrase, BIAS)) for phrase in phrases]
    else:
        prompts = bench.prompts(len(rows), grid.context)
        samplings = [Sampling(temperature=1.0, seed=i) for i in range(len(rows))]
    return [
        Request(prompt, None if lora is None else lora.digest, grid.drafted_tokens, sampling)
        for prompt, lora, sampling in zip(prompts, rows, samplings, strict=True)
    ]


def drafts_name(num: int) -> str:
    return f"{num} drafts"


def count_drafts(run: Run, requests: Sequence[Request]) -> Drafts:
    """Count by the rows of all steps, and by the tokens that came of a draw beyond the first.

    The run computed every prompt, and nothing twice.
    """
    num_draws = sum(answer.num_draws for answer in run.answers)
    num_prompt = sum(len(request.tokens) for request in requests)
    num_others = num_prompt + num_draws - len(requests)  # a prompt's last row is a draw's as well
    return Drafts(
        num=sum(step.tokens for step in run.steps) - num_others,
        num_right=sum(len(answer.tokens) for answer in run.answers) - num_draws,
    )


def count_differing(run: Run, other: Run) -> int:
    """Sequences of two runs of the same requests whose tokens are not equal."""
    pairs = zip(run.answers, other.answers, strict=True)
    return sum(one.tokens != same.tokens for one, same in pairs)


def make_cells(
    case: str,
    found: Mapping[str, Rounds],
    requests: Sequence[Request],
    *,
    parameters: Mapping[str, Value],
) -> Iterator[Cell]:
    """The rate of both; of the one with drafts also these, and what differs, visit by visit."""
    runs = {name: [run for pair in rounds for run in pair] for name, rounds in found.items()}
    plain, drafted = runs.values()
    drafts = [count_drafts(run, requests) for run in drafted]
    differing = [count_differing(*pair) for pair in zip(drafted, plain, strict=True)]
    last = list(runs)[-1]

    def cell(name: str, figure: str, unit: str, samples: Sequence[float]) -> Cell:
        return Cell(f"{WEFT} {name}", figure, unit, samples, case=case, parameters=parameters)

    for name, own in runs.items():
        yield cell(name, RATE, "tokens/s", [_rate(run, requests) for run in own])
    yield cell(last, DRAFTED, "tokens", [own.num for own in drafts])
    yield cell(last, RIGHT, "tokens", [own.num_right for own in drafts])
    yield cell(last, DIFFERING, "sequences", differing)


def make_ratio(case: str, found: Mapping[str, Rounds], requests: Sequence[Request]) -> Ratio:
    """The rate with drafts over the one without, round by round."""
    (plain, before), (drafted, after) = (
        (name, [fmean(_rate(run, requests) for run in pair) for pair in rounds])
        for name, rounds in found.items()
    )
    ratios = [mine / theirs for mine, theirs in zip(after, before, strict=True)]
    return Ratio(f"{WEFT} {drafted}", f"{WEFT} {plain}", RATE, ratios, case=case)


def _rate(run: Run, requests: Sequence[Request]) -> float:
    """New tokens per second, prefill included."""
    return round(sum(request.new_tokens for request in requests) / run.seconds, 3)
