"""The arithmetic of the floors, against figures that were worked out by hand."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from weft.adapters.layout import place_slices
from weft.bench.floors import H200, BaseCost, BatchCost, Ceilings, Work, linear_work
from weft.bench.lora_cells import P1_CELL, Batch, LoraCell
from weft.bench.random_model import cost_of, describe, make_config
from weft.bench.shapes import SHAPES

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


def test_ceiling_more_than_a_twentieth_off_is_flagged() -> None:
    assert not Ceilings(4.1e12, 810e12).flags()
    assert Ceilings(3.0e12, 900e12).flags() == [
        "copy 3.00 TB/s is -30% of 4.3",
        "product 900 TFLOP/s is +15% of 780",
    ]


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


LLAMA_SITES = ("qkv", "o", "gate_up", "down")
RANKS = (8, 16, 32, 64)
FLOORS = {  # of one site, in µs, at RANKS; then of all sites of 32 layers, in ms
    Batch(1): (
        (0.08, 0.14, 0.28, 0.56),
        (0.04, 0.07, 0.13, 0.25),
        (0.17, 0.30, 0.58, 1.13),
        (0.08, 0.15, 0.28, 0.56),
        (0.01, 0.02, 0.04, 0.08),
    ),
    Batch(8): (
        (0.61, 1.16, 2.26, 4.45),
        (0.29, 0.53, 1.02, 2.00),
        (1.33, 2.42, 4.62, 9.01),
        (0.63, 1.18, 2.28, 4.47),
        (0.09, 0.17, 0.33, 0.64),
    ),
    Batch(32): (
        (2.44, 4.63, 9.02, 17.8),
        (1.16, 2.13, 4.08, 7.99),
        (5.30, 9.69, 18.5, 36.0),
        (2.53, 4.72, 9.11, 17.9),
        (0.37, 0.68, 1.30, 2.55),
    ),
    Batch(64): (
        (4.88, 9.27, 18.0, 35.6),
        (2.32, 4.27, 8.17, 16.0),
        (10.6, 19.4, 36.9, 72.1),
        (5.06, 9.45, 18.2, 35.8),
        (0.73, 1.36, 2.60, 5.10),
    ),
    Batch(128): (
        (9.75, 18.5, 36.1, 71.2),
        (4.63, 8.53, 16.3, 31.9),
        (21.2, 38.8, 73.9, 144),
        (10.1, 18.9, 36.5, 71.6),
        (1.46, 2.71, 5.21, 10.2),
    ),
    Batch(prefill_rows=512, prefill_adapters=1): (
        (3.97, 4.04, 4.18, 4.45),
        (2.96, 2.99, 3.05, 3.17),
        (14.8, 14.9, 15.2, 15.7),
        (5.43, 5.50, 5.64, 5.91),
        (0.87, 0.88, 0.90, 0.94),
    ),
    Batch(prefill_rows=8192, prefill_adapters=8): (
        (63.0, 63.5, 64.6, 66.8),
        (47.1, 47.3, 47.8, 48.8),
        (235, 236, 238, 243),
        (86.4, 86.9, 88.0, 90.2),
        (13.8, 13.9, 14.0, 14.4),
    ),
}
LINEARS_US = {1: 101, 8: 102, 32: 102, 64: 104, 128: 106, 512: 286, 8192: 4581}


def near(value: float) -> object:
    """The last of three digits, or of two decimals, was rounded."""
    return pytest.approx(value, rel=5e-3, abs=6e-3)


@pytest.mark.parametrize("batch", FLOORS, ids=str)
def test_lora_floors_of_an_8b_model_are_the_known_ones(batch: Batch) -> None:
    *sites, layers = FLOORS[batch]
    for i, rank in enumerate(RANKS):
        cells = [LoraCell(site, (rank,), batch) for site in LLAMA_SITES]
        floors_s = [cell.work(0, element_bytes=2).floor_s(H200) for cell in cells]
        for floor_s, expected in zip(floors_s, sites, strict=True):
            assert 1e6 * floor_s == near(expected[i])
        assert 32e3 * sum(floors_s) == near(layers[i])


def test_lora_floor_of_goal_p1() -> None:
    work = P1_CELL.work(0, element_bytes=2)
    assert work.num_bytes == pytest.approx(34.3e6, rel=3e-3)
    assert 1e6 * work.floor_s(H200) == pytest.approx(7.97, abs=5e-3)


def test_lora_floor_is_of_products_where_they_take_longer() -> None:
    slow_products = Ceilings(copy_bytes_s=4.3e12, matmul_flops_s=1e12)
    work = P1_CELL.work(0, element_bytes=2)
    assert work.floor_s(slow_products) == pytest.approx(2 * 64 * 16 * (4096 + 11008) / 1e12)


@pytest.mark.parametrize(("num_rows", "expected_us"), LINEARS_US.items())
def test_floors_of_a_layer_of_linears_are_the_known_ones(num_rows: int, expected_us: float) -> None:
    works = [
        linear_work(LoraCell(site, (1,), Batch(1)).shape, num_rows, element_bytes=2)
        for site in LLAMA_SITES
    ]
    assert 1e6 * sum(work.floor_s(H200) for work in works) == pytest.approx(expected_us, rel=6e-3)
