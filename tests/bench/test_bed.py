"""The engine under test and the figures of a run."""

import pytest

from weft.bench.bed import Bed, timing_of
from weft.bench.cases import base_case, mixed_case
from weft.bench.driver import Run
from weft.server.channel import StepSample


def test_row_i_uses_adapter_i_modulo_their_number(bed: Bed) -> None:
    rows = bed.rows(mixed_case(4, 3).places)
    assert [lora and lora.name for lora in rows] == ["lora-0", "lora-1", "lora-2", "lora-0"]
    assert bed.rows([None, 1]) == [None, bed.loras[1]]


def test_cost_reads_a_shared_adapter_once(bed: Bed) -> None:
    sizes = [lora.num_elements for lora in bed.loras]
    cost = bed.batch_cost(mixed_case(4, 3))
    assert cost.distinct_elements == sizes
    assert cost.row_elements == [*sizes, sizes[0]]
    assert cost.adapter_bytes == 4 * sum(sizes)
    assert bed.batch_cost(base_case(4)).adapter_bytes == 0


def test_prompts_are_the_same_at_every_call(bed: Bed) -> None:
    assert bed.prompts(3, 5) == bed.prompts(3, 5)
    assert len({tuple(prompt) for prompt in bed.prompts(3, 5)}) == 3


def test_arena_holds_all_adapters_and_the_cache_the_batch_twice(bed: Bed) -> None:
    budgets = bed.driver.engine.budgets
    assert budgets.arena_elements >= sum(lora.num_elements for lora in bed.loras)
    tokens = bed.options.batch * (bed.options.prompt_tokens + bed.options.new_tokens)
    assert budgets.num_blocks * budgets.block_tokens >= 2 * tokens


def test_timing_tells_prefill_from_decode() -> None:
    steps = [
        StepSample("prefill", 0.5, 100, 0),
        StepSample("mixed", 0.5, 50, 1),
        StepSample("decode", 0.1, 4, 1),
        StepSample("decode", 0.3, 4, 1),
        StepSample("decode", 0.1, 2, 1),
    ]
    timing = timing_of(Run([], 2.0, steps, []), 12)
    assert timing.rate == 6
    assert timing.prefill_rate == 150
    assert timing.decode_rate == pytest.approx(20)
    assert timing.step_ms == pytest.approx(100)


def test_timed_run_draws_the_whole_batch(bed: Bed) -> None:
    timing = bed.time(mixed_case(4, 3))
    assert timing.rate > 0
    assert timing.step_ms is not None
    assert timing.step_ms > 0
