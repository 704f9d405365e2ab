from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.rope import rope

from .cases import COMPILED_RUNS, TRITON_RUNS, Run
from .rows import assert_rounds_alike, replay

NUM_BLOCKS, BLOCK_TOKENS, NUM_POSITIONS = 5, 4, 50


@dataclass(frozen=True, slots=True)
class Heads:
    """H query heads over G key heads of D features, 2E of them rotated; values of Dv."""

    num: int
    num_kv: int
    size: int
    pairs: int
    v_size: int


HEADS = {
    "llama": Heads(num=8, num_kv=2, size=128, pairs=64, v_size=128),
    "odd": Heads(num=19, num_kv=17, size=80, pairs=40, v_size=96),
    "partial": Heads(num=3, num_kv=1, size=64, pairs=8, v_size=64),
    "prime": Heads(num=1, num_kv=1, size=67, pairs=31, v_size=13),
}
FORMS = [
    pytest.param({"interleaved": interleaved, "in_fp32": in_fp32}, id=name)
    for name, interleaved, in_fp32 in [
        ("half", False, False),
        ("half-fp32", False, True),
        ("interleaved", True, False),
        ("interleaved-fp32", True, True),
    ]
]
HALF = {"interleaved": False, "in_fp32": False}


def inputs(run: Run, heads: Heads, cache_index_T: list[int], **form: bool) -> dict[str, Any]:
    """Views of a merged output, of random angles and of a random cache."""
    num_rows = len(cache_index_T)
    widths = [heads.num * heads.size, heads.num_kv * heads.size, heads.num_kv * heads.v_size]
    q_TN, k_TN, v_TN = torch.split(run.random(num_rows, sum(widths)), widths, dim=1)
    angle_XE = 6 * torch.rand(
        NUM_POSITIONS, heads.pairs, generator=torch.Generator().manual_seed(1)
    )
    places = (NUM_BLOCKS, BLOCK_TOKENS, heads.num_kv)
    return {
        "q_THD": q_TN.view(num_rows, heads.num, heads.size),
        "k_TGD": k_TN.view(num_rows, heads.num_kv, heads.size),
        "v_TGD": v_TN.view(num_rows, heads.num_kv, heads.v_size),
        "positions_T": torch.arange(num_rows, device=run.device) * 7 % NUM_POSITIONS,
        "cache_index_T": torch.tensor(cache_index_T, dtype=torch.int64, device=run.device),
        "cos_XE": angle_XE.cos().to(run.device, run.dtype),
        "sin_XE": angle_XE.sin().to(run.device, run.dtype),
        "k_cache_PZGD": run.random(*places, heads.size, seed=2),
        "v_cache_PZGD": run.random(*places, heads.v_size, seed=3),
        **form,
    }


CHANGED = ("q_THD", "k_cache_PZGD", "v_cache_PZGD")


def copies(arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.clone() if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }


def assert_equals_the_definition(arguments: dict[str, Any]) -> None:
    want = copies(arguments)
    reference_rows.rope(**want)
    rope(**arguments)
    for name in CHANGED:
        assert_rounds_alike(name, arguments[name], want[name])


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_rope_equals_the_definition(run: Run, heads: Heads, form: dict[str, bool]) -> None:
    assert_equals_the_definition(inputs(run, heads, [4, 5, 19, 0, 11], **form))


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("interleaved", [False, True])
def test_angles_may_be_fp32(run: Run, interleaved: bool) -> None:
    arguments = inputs(run, HEADS["partial"], [7, 8], interleaved=interleaved, in_fp32=True)
    angle_XE = run.random(NUM_POSITIONS, 8, seed=1).float()
    assert_equals_the_definition(arguments | {"cos_XE": angle_XE.cos(), "sin_XE": angle_XE.sin()})


@pytest.mark.parametrize("run", TRITON_RUNS)
@pytest.mark.parametrize("form", FORMS)
def test_only_rows_with_a_place_write_and_only_to_it(run: Run, form: dict[str, bool]) -> None:
    heads = HEADS["odd"]
    arguments = inputs(run, heads, [6, -1, 13, -9], **form)
    arguments["positions_T"][1::2] = 1 << 40  # far outside
    before = copies(arguments)
    rope(**arguments)
    assert torch.equal(arguments["q_THD"][1::2], before["q_THD"][1::2])
    assert not torch.equal(arguments["q_THD"][::2], before["q_THD"][::2])
    others = [i for i in range(NUM_BLOCKS * BLOCK_TOKENS) if i not in (6, 13)]
    for name in ("k_cache_PZGD", "v_cache_PZGD"):
        places, places_before = arguments[name].flatten(0, 1), before[name].flatten(0, 1)
        assert torch.equal(places[others], places_before[others])
        assert not torch.equal(places[[6, 13]], places_before[[6, 13]])
    assert torch.equal(arguments["k_TGD"], before["k_TGD"])
    assert torch.equal(arguments["v_TGD"], before["v_TGD"])


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_nothing_beside_the_views_is_touched(run: Run) -> None:
    """A place holds keys beside values; queries and values lie in wider rows of their own."""
    heads = replace(HEADS["odd"], v_size=80)
    arguments = inputs(run, heads, [3, 4, 12], **HALF)
    both = run.random(NUM_BLOCKS, BLOCK_TOKENS, 2, heads.num_kv, 80, seed=4)
    wide = run.random(3, heads.num, 100, seed=5)
    arguments |= {
        "q_THD": wide[:, :, 10:90], "v_TGD": wide[:, 1 : heads.num_kv + 1, :80].clone(),
        "k_cache_PZGD": both[:, :, 0], "v_cache_PZGD": both[:, :, 1]
    }  # fmt: skip
    before, wide_before, both_before = copies(arguments), wide.clone(), both.clone()
    assert_equals_the_definition(arguments)
    for name in CHANGED:
        arguments[name].copy_(before[name])
    assert torch.equal(wide, wide_before)
    assert torch.equal(both, both_before)


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_no_rows(run: Run) -> None:
    assert_equals_the_definition(inputs(run, HEADS["partial"], [], **HALF))


@pytest.mark.parametrize("run", TRITON_RUNS)
def test_bits_of_a_row_depend_on_no_other(run: Run) -> None:
    together = inputs(run, HEADS["llama"], [4, 5, 19], **HALF)
    alone = copies(together)
    for name in ("q_THD", "k_TGD", "v_TGD", "positions_T", "cache_index_T"):
        alone[name] = alone[name][1:2]
    rope(**together)
    rope(**alone)
    assert torch.equal(alone["q_THD"][0], together["q_THD"][1])
    assert torch.equal(alone["k_cache_PZGD"][1, 1], together["k_cache_PZGD"][1, 1])


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["llama", "odd"])
def test_many_rows_equal_the_definition(run: Run, name: str, form: dict[str, bool]) -> None:
    arguments = inputs(run, HEADS[name], list(range(8191, -1, -1)), **form)
    for cache in ("k_cache_PZGD", "v_cache_PZGD"):
        _, _, num_kv, size = arguments[cache].shape
        arguments[cache] = run.random(8192 // BLOCK_TOKENS, BLOCK_TOKENS, num_kv, size)
    assert_equals_the_definition(arguments)


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_places_beyond_2_31_elements_are_written(run: Run) -> None:
    near = inputs(run, HEADS["llama"], [1], **HALF)
    far_block = 2**31 // (BLOCK_TOKENS * 2 * 128)
    far = copies(near)
    far["cache_index_T"] += far_block * BLOCK_TOKENS
    for cache in ("k_cache_PZGD", "v_cache_PZGD"):
        far[cache] = near[cache].new_zeros(far_block + 1, *near[cache].shape[1:])
    reference_rows.rope(**near)
    rope(**far)
    for cache in ("k_cache_PZGD", "v_cache_PZGD"):
        assert_rounds_alike(cache, far[cache][far_block, 1], near[cache][0, 1])


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_captured_full_replays_with_padding(run: Run) -> None:
    arguments = inputs(run, HEADS["llama"], [4, 5, 19, 0, 11], **HALF)
    replayed = replay(lambda: rope(**arguments))
    arguments["cache_index_T"].copy_(torch.tensor([7, -1, 2, -1, -1]))
    want = copies(arguments)
    reference_rows.rope(**want)
    replayed()
    for name in CHANGED:
        assert_rounds_alike(name, arguments[name], want[name])


CASE = Run(lambda *_: None, "cpu", torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k_TGD": torch.zeros(2, 1, 64).half()}, r"k torch\.float16"),
        ({"v_TGD": torch.zeros(3, 1, 64)}, r"are not \[T, H, D\], \[T, G, D\], \[T, G, Dv\]"),
        ({"k_TGD": torch.zeros(2, 1, 32)}, r"are not \[T, H, D\], \[T, G, D\], \[T, G, Dv\]"),
        ({"q_THD": torch.zeros(2, 3, 128)[..., ::2]}, r"the features of q \(2, 3, 64\)"),
        (
            {"positions_T": torch.zeros(2).int()},
            r"positions is torch\.int32 \(2,\), not int64 \[2\]",
        ),
        (
            {"cache_index_T": torch.zeros(3).long()},
            r"cache_index is torch\.int64 \(3,\), not int64",
        ),
        ({"cos_XE": torch.zeros(50, 8).half()}, r"the angles are torch\.float16, q torch\.float32"),
        ({"sin_XE": torch.zeros(49, 8)}, r"sin is torch\.float32 \(49, 8\), cos"),
        (
            {"cos_XE": torch.zeros(50, 33), "sin_XE": torch.zeros(50, 33)},
            r"33 pairs exceed a head of 64 features",
        ),
        ({"cos_XE": torch.zeros(8, 50).T}, r"cos and sin are not contiguous"),
        (
            {"v_cache_PZGD": torch.zeros(5, 4, 2, 64)},
            r"the cache is torch\.float32 \(5, 4, 2, 64\)",
        ),
        ({"k_cache_PZGD": torch.zeros(5, 8, 1, 64)[:, ::2][:, :3]}, r"are not evenly spaced"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rope(**inputs(CASE, HEADS["partial"], [0, 1], **HALF) | change)


def test_fp32_angles_are_refused_where_they_would_be_rounded() -> None:
    half = inputs(CASE._replace(dtype=torch.float16), HEADS["partial"], [0, 1], **HALF)
    with pytest.raises(ValueError, match=r"the angles are torch\.float32, .* in_fp32 False"):
        rope(**half | {"cos_XE": half["cos_XE"].float(), "sin_XE": half["sin_XE"].float()})
