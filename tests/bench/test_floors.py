"""The arithmetic of the floors, against figures that were worked out by hand."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from weft.adapters.layout import place_slices
from weft.bench.floors import BaseCost, BatchCost, Ceilings, Work
from weft.bench.random_model import cost_of, describe, make_config
from weft.bench.shapes import SHAPES

H200 = Ceilings(copy_bytes_s=4.3e12, matmul_flops_s=780e12)
SMALL = BatchCost(
    base=BaseCost(
        weight_bytes=1000,
        linear_weights=400,
        head_weights=100,
        kv_token_bytes=10,
        attention_flops=8,
    ),
    batch=2,
    prompt_tokens=4,
    new_tokens=3,
    distinct_elements=[50, 30],
    row_elements=[50, 30],
    element_bytes=2,
)


def test_floor_is_the_larger_of_bytes_and_products() -> None:
    ceilings = Ceilings(copy_bytes_s=10, matmul_flops_s=100)
    assert Work(num_bytes=50, flops=100).floor_s(ceilings) == 5
    assert Work(num_bytes=50, flops=900).floor_s(ceilings) == 9


def test_decode_step_reads_weights_adapters_and_keys_once() -> None:
    step = SMALL.decode_step(context=5)
    assert step.num_bytes == 1000 + 2 * 80 + 2 * 5 * 10
    assert step.flops == 2 * 2 * 500 + 2 * 5 * 8 + 2 * 80


def test_prefill_multiplies_every_prompt_token_and_half_the_pairs() -> None:
    prefill = SMALL.prefill()
    assert prefill.num_bytes == 1000 + 2 * 80 + 2 * 4 * 10
    assert prefill.flops == 2 * 8 * 400 + 2 * 2 * 100 + 2 * 16 / 2 * 8 + 2 * 4 * 80


def test_an_adapter_that_two_rows_share_is_read_once_and_multiplied_twice() -> None:
    shared = replace(SMALL, distinct_elements=[50], row_elements=[50, 50])
    assert shared.adapter_bytes == 100
    assert shared.decode_step(1).flops - replace(shared, row_elements=[]).decode_step(1).flops == (
        2 * 100
    )


def test_decode_draws_all_tokens_but_the_first() -> None:
    bytes_only = Ceilings(copy_bytes_s=1, matmul_flops_s=1e9)
    steps = [SMALL.decode_step(context).num_bytes for context in (5, 6)]
    assert SMALL.decode_s(bytes_only) == sum(steps)
    assert SMALL.middle_step_s(bytes_only) == steps[0]


def test_better_ceiling_counts_each_for_itself() -> None:
    assert Ceilings(1, 9).best_of(Ceilings(2, 8)) == Ceilings(2, 9)


@pytest.mark.parametrize(
    ("name", "weight_bytes", "kv_token_bytes", "rank_bytes"),
    [("8b", 15.01e9, 131_072, 5_242_880), ("82m", 163.6e6, 12_288, 325_632)],
)
def test_shapes_cost_what_is_known_of_them(
    name: str, weight_bytes: float, kv_token_bytes: int, rank_bytes: int
) -> None:
    shape = SHAPES[name]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(make_config(shape), dtype=torch.bfloat16)
    cost, facts = cost_of(model, shape), describe(model, shape, seed=0)
    assert cost.weight_bytes == pytest.approx(weight_bytes, rel=1e-3)
    assert cost.kv_token_bytes == kv_token_bytes
    assert 2 * place_slices(facts, dict.fromkeys(facts.members, 16)).num_elements == 16 * rank_bytes


def test_8b_decode_floors_are_the_known_ones() -> None:
    """3.52, 4.49 and 7.49 ms at batch 1, 32 and 128, context 1,024, on 4.3 TB/s."""
    shape = SHAPES["8b"]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(make_config(shape), dtype=torch.bfloat16)
    base = cost_of(model, shape)
    for batch, floor_ms in ((1, 3.52), (32, 4.49), (128, 7.49)):
        cost = replace(SMALL, base=base, batch=batch, distinct_elements=[], row_elements=[])
        assert 1000 * cost.decode_step(1024).floor_s(H200) == pytest.approx(floor_ms, abs=0.006)
