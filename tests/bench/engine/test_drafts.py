"""An engine with drafts beside one without. No time is judged."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from weft.bench.bed import Base, Bed
from weft.bench.driver import Answer, Driver, Request, Run
from weft.bench.engine.drafts import (
    Text,
    count_differing,
    count_drafts,
    make_cells,
    make_ratio,
    make_requests,
)
from weft.bench.engine.workbench import Workbench
from weft.bench.floors import Ceilings
from weft.server.channel import Sampling, StepSample
from weft.server.config import EngineConfig
from weft.server.engine.plan import Chunk

from .test_suite import TINY

REQUESTS = [Request([1, 2, 3], None, 4), Request([4, 5], None, 4)]


def run(seconds: float, *, drafts: int = 0, tokens: list[int] | None = None) -> Run:
    """Two sequences of four tokens; with drafts the first has two of its tokens by one draw."""
    one = Answer(tokens or [7, 8, 9, 9], num_draws=3 if drafts else 4)
    other = Answer([6, 6, 6, 6], num_draws=4)
    steps = [("prefill", 5), ("decode", 2 + drafts), ("decode", 2), ("decode", 1 + (not drafts))]
    samples = [StepSample(kind, seconds / 4, num, 0) for kind, num in steps]
    return Run([one, other], seconds, samples, [])


def test_drafts_are_the_rows_beyond_prompts_and_draws() -> None:
    assert count_drafts(run(1.0), REQUESTS) == (0, 0)
    assert count_drafts(run(1.0, drafts=3), REQUESTS) == (3, 1)


def test_sequences_that_differ_are_counted() -> None:
    assert count_differing(run(1.0), run(2.0, drafts=3)) == 0
    assert count_differing(run(1.0), run(1.0, tokens=[7, 8, 9, 5])) == 1


def test_figures_of_visits_and_the_ratio_of_rounds() -> None:
    found = {
        "plain": [(run(1.0), run(4.0))],
        "own": [(run(0.5, drafts=3), run(2.0, drafts=2, tokens=[7, 8, 9, 5]))],
    }
    cells = make_cells("case", found, REQUESTS, parameters={"sequences": 2})
    assert {(c.contender, c.figure): list(c.samples) for c in cells} == {
        ("weft plain", "rate"): [8, 2],
        ("weft own", "rate"): [16, 4],
        ("weft own", "drafts"): [3, 2],
        ("weft own", "right_drafts"): [1, 1],
        ("weft own", "differing"): [0, 1],
    }
    ratio = make_ratio("case", found, REQUESTS)
    assert (ratio.above, ratio.below, ratio.rounds) == ("weft own", "weft plain", [2])


@pytest.fixture
def driver(bed: Bed) -> Iterator[Driver]:
    config = EngineConfig(kv_bytes=4_000_000, arena_bytes=4_000_000, speculate=3)
    images = {lora.digest: lora.image for lora in bed.loras}
    with closing(Driver(bed.model, bed.facts, config, images)) as driver:
        yield driver


def test_count_is_what_the_engine_tried(bed: Bed, driver: Driver) -> None:
    tried, right = 0, 0
    speculation = driver.engine._speculation
    learn = speculation.learn

    def note(chunk: Chunk, num_right: int) -> None:
        nonlocal tried, right
        tried += len(chunk.drafts)
        right += num_right
        learn(chunk, num_right)

    speculation.learn = note  # type: ignore[method-assign]
    speculation._pays = lambda *_: True  # type: ignore[method-assign]
    phrases = bed.prompts(3, 4)
    requests = [
        Request(phrase * 4, lora, 30, Sampling(0.8, seed=1, logit_bias=dict.fromkeys(phrase, 9.0)))
        for phrase, lora in zip(phrases, [None, bed.loras[0].digest, None], strict=True)
    ]
    found = count_drafts(driver.run(requests), requests)
    assert found == (tried, right)
    assert tried > right > 0


def test_repeating_text_is_held_to_the_words_of_its_prompt(bed: Bed) -> None:
    base = Base(bed.facts, bed.model, bed.cost)
    bench = Workbench(TINY, base, Ceilings(1e9, 1e9), bed.loras[0].files.parent)
    rows = [None, bed.loras[0], None]
    repeating, random = (make_requests(bench, rows, text) for text in Text)
    for request in repeating:
        phrase = request.tokens[:4]
        assert request.tokens == phrase * 4
        assert (request.sampling.temperature, {*request.sampling.logit_bias}) == (0, {*phrase})
    assert [request.digest for request in repeating] == [None, bed.loras[0].digest, None]
    assert {request.sampling.temperature for request in random} == {1.0}
    assert len({request.sampling.seed for request in random}) == 3
    assert all(request.tokens[:4] != request.tokens[4:8] for request in random)
