"""Goals P2 and P3 by the figures of a run."""

import pytest

from weft.bench.engine.goals import judge_engine
from weft.bench.record import Cell, Ratio, Value

H200 = {"gpu": "NVIDIA H200"}


def step(case: str, contender: str, ms: float, floor: float, adapter_ms: float = 0) -> Cell:
    return Cell(
        contender, "step", "ms", [ms], floor, case=case, parameters={"adapter_ms": adapter_ms}
    )


def steps(times: dict[int, float]) -> list[Cell]:
    floors = {1: 3.52, 32: 4.49, 128: 7.49}
    return [
        step(f"decode {batch} x 1024", "weft base", ms, floors[batch])
        for batch, ms in times.items()
    ]


def tax(shared: float, distinct: float) -> tuple[list[Cell], list[Ratio]]:
    case = "tax 32 x 1024"
    cells = [
        step(case, "weft base", 5.0, 4.49),
        step(case, "weft 32 distinct r16", 5.0 * (1 + distinct), 5.1, adapter_ms=0.625),
    ]
    ratios = [
        Ratio("weft 1 r16", "weft base", "step", [1 + shared], case=case),
        Ratio("weft 32 distinct r16", "weft base", "step", [1 + distinct], case=case),
    ]
    return cells, ratios


@pytest.mark.parametrize(
    ("shared", "distinct", "met"),
    [(0.029, 0.20, True), (0.031, 0.20, False), (0.02, 0.21, False)],
)
def test_price_is_bounded_by_the_bytes_of_the_adapters(
    shared: float, distinct: float, met: bool
) -> None:
    cells, ratios = tax(shared, distinct)
    price, *_ = judge_engine(cells, ratios, shape="8b", hardware=H200)
    assert price.met is met
    assert "goal 20.5%" in price.margin


@pytest.mark.parametrize(
    ("times", "met"),
    [
        ({1: 4.3, 32: 5.6, 128: 9.3}, True),
        ({1: 4.3, 32: 5.7, 128: 9.3}, False),
        ({1: 4.3, 32: 5.6}, None),
        ({1: 4.5}, False),
    ],
)
def test_steps_are_judged_over_their_floors(times: dict[int, float], met: bool | None) -> None:
    _, verdict, _ = judge_engine(steps(times), [], shape="8b", hardware=H200)
    assert verdict.met is met


@pytest.mark.parametrize(("shape", "gpu"), [("82m", "NVIDIA H200"), ("8b", "NVIDIA H100")])
def test_goals_are_stated_for_one_shape_and_machine(shape: str, gpu: str) -> None:
    cells, ratios = tax(0, 0)
    verdicts = judge_engine([*cells, *steps({1: 9.0})], ratios, shape=shape, hardware={"gpu": gpu})
    assert [verdict.met for verdict in verdicts] == [None, None, None]
    assert ["stated for an 8B on an H200" in verdict.margin for verdict in verdicts] == [
        True,
        True,
        False,
    ]


def test_nothing_timed_is_not_judged() -> None:
    assert [v.met for v in judge_engine([], [], shape="8b", hardware=H200)] == [None] * 3


@pytest.mark.parametrize(
    ("dtype", "samples", "met"),
    [
        ("float32", [0, 0], True),
        ("float32", [0, 1], False),
        ("bfloat16", [0, 0], True),
        ("bfloat16", [0, 1], None),
    ],
)
def test_only_rounding_may_part_tokens_with_drafts(
    dtype: str, samples: list[float], met: bool | None
) -> None:
    parameters: dict[str, Value] = {"sequences": 4, "dtype": dtype}
    cell = Cell("weft 4 drafts", "differing", "sequences", samples, None, "x", parameters)
    *_, verdict = judge_engine([cell], [], shape="82m", hardware={})
    assert verdict.met is met
    assert f"{sum(samples)} of 8 sequences" in verdict.margin
