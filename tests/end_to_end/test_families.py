"""A batch of many adapters and base rows gives every request what PEFT gives it alone."""

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.running import running_server
from tests.tiny import save_tiny_model
from weft.client import Answer, AsyncClient, Sampling, Stopping

from .adapters import Family, publish_family
from .metrics import Figures, wait_for_metrics
from .reference import LOGPROB_TOLERANCE, Reference, assert_equals

NUM_TOKENS = 10
NUM_ALTERNATIVES = 5
PROMPT_TOKENS = (1, 2, 3, 7, 16, 17, 31, 33, 48)


@dataclass(frozen=True, slots=True)
class Case:
    """One request of the batch."""

    model: str
    prompt: list[int]


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma"])
def family(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Family]:
    if request.param == "llama":
        yield request.getfixturevalue("llama")
        return
    folder = tmp_path_factory.mktemp(request.param)
    base = save_tiny_model(request.param, folder / "base")
    with running_server(base, folder / "data", "--no-worker") as server:
        yield publish_family(server, base, folder / "adapters")


def cases(family: Family) -> list[Case]:
    """Every adapter and the base, each at two lengths of prompt; one prompt is the same for all."""
    models = ["base", *family.adapters]
    lengths = [PROMPT_TOKENS[i % len(PROMPT_TOKENS)] for i in range(len(models))]
    own = [
        Case(model, [(7 * i + 13 * j) % 300 + 4 for j in range(length)])
        for i, (model, length) in enumerate(zip(models, lengths, strict=True))
    ]
    same = [Case(model, list(range(20, 60))) for model in models]
    return own + same + [Case("base", [5, 6, 7])]


async def run_together(address: str, cases: list[Case]) -> list[Answer]:
    async with AsyncClient(address) as weft:
        return await asyncio.gather(
            *(
                weft.complete(
                    case.model,
                    tokens=case.prompt,
                    sampling=Sampling(temperature=0),
                    stopping=Stopping(max_tokens=NUM_TOKENS, ignore_end_token=True),
                    logprobs=NUM_ALTERNATIVES,
                )
                for case in cases
            )
        )


async def test_mixed_batch_equals_peft_one_by_one(family: Family) -> None:
    batch = cases(family)
    first = await run_together(family.server.address, batch)
    again = await run_together(family.server.address, batch)

    for model in ("base", *family.adapters):
        reference = Reference(family.base, family.adapters.get(model))
        for case, *answers in zip(batch, first, again, strict=True):
            if case.model != model:
                continue
            wanted = reference.generate(case.prompt, NUM_TOKENS)
            for answer in answers:
                assert_equals(answer, wanted, f"{model}, prompt of {len(case.prompt)}")


async def test_all_adapters_share_a_step(family: Family) -> None:
    await run_together(family.server.address, cases(family))
    name = "weft_batch_distinct_adapters_bucket"

    def a_step_had_all_of_them(found: Figures) -> bool:
        return found[f'{name}{{le="+Inf"}}'] > found[f'{name}{{le="8.0"}}']

    assert len(family.adapters) > 8
    await wait_for_metrics(family.server.metrics, a_step_had_all_of_them)


def test_every_adapter_differs_from_the_base_and_the_others(family: Family) -> None:
    prompt = list(range(20, 60))
    references = [Reference(family.base, path) for path in (None, *family.adapters.values())]
    rows_V = [reference.generate(prompt, 1).logprobs_TV[0] for reference in references]
    for one_V, other_V in itertools.combinations(rows_V, 2):
        assert float((one_V - other_V).abs().max()) > 100 * LOGPROB_TOLERANCE
