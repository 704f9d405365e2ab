from collections.abc import Iterable

import pytest
import torch

from weft.adapters.errors import Violation
from weft.adapters.sites import BaseFacts, Member, Site
from weft.adapters.targets import Target
from weft.adapters.tensor_checks import (
    Limits,
    WholePair,
    check_ranks,
    check_shapes,
    check_targets,
    check_values,
    find_whole,
)
from weft.adapters.tensor_file import Entry
from weft.adapters.tensor_names import Pair

SITES = (
    Site("qkv", 16, (Member("q", 16), Member("k", 8))),
    Site("o", 16, (Member("o", 16),)),
)
FACTS = BaseFacts("b", "sha256:b", frozenset(), "bfloat16", SITES, {"norm": "Norm"}, 8, 8, "", "")
LIMITS = Limits(max_rank=8, max_file_bytes=1 << 20, arena_bytes=1 << 20)
K_PAIR = {"k": Pair("k.a", "k.b")}


def entry(*shape: int, dtype: str = "F32") -> Entry:
    return Entry(dtype, shape, 0, 0)


def named(violations: Iterable[Violation]) -> list[tuple[str, str]]:
    return [(violation.code, violation.path) for violation in violations]


def test_selected_modules_and_modules_with_tensors_are_compared_in_both_directions() -> None:
    targets = {"q": Target(4, 1.0), "o": Target(4, 1.0), "norm": Target(4, 1.0)}
    pairs = {"k": Pair("k.a", "k.b"), "o": Pair("o.a", None)}
    assert named(check_targets(pairs, targets, FACTS)) == [
        ("TARGET_MISSING", "q"),
        ("TARGET_EXTRA", "k"),
    ]


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        (entry(4, 16), entry(8, 4), []),
        (entry(4, 16, dtype="BF16"), entry(8, 4, dtype="F16"), []),
        (entry(4, 15), entry(8, 4), [("SHAPE_MISMATCH", "k.a")]),
        (entry(4, 16), entry(16, 4), [("SHAPE_MISMATCH", "k.b")]),
        (entry(4, 16), entry(8, 5), [("SHAPE_MISMATCH", "k.b")]),
        (entry(16, 4), entry(4, 8), [("SHAPE_MISMATCH", "k.a"), ("SHAPE_MISMATCH", "k.b")]),
        (entry(64), entry(8, 4), [("SHAPE_MISMATCH", "k.a")]),
        (entry(4, 16, dtype="F64"), entry(8, 4), [("DTYPE", "k.a")]),
        (
            entry(4, 15, dtype="I8"),
            entry(8, 4, dtype="F8_E4M3"),
            [("SHAPE_MISMATCH", "k.a"), ("DTYPE", "k.a"), ("DTYPE", "k.b")],
        ),
    ],
)
def test_shapes_and_dtypes(a: Entry, b: Entry, expected: list[tuple[str, str]]) -> None:
    entries = {"k.a": a, "k.b": b}
    assert named(check_shapes(K_PAIR, entries, FACTS)) == expected
    whole = find_whole(K_PAIR, entries, FACTS)
    assert whole == ({} if expected else {"k": WholePair("k.a", "k.b", 4)})


@pytest.mark.parametrize("pair", [Pair("k.a", None), Pair(None, "k.b")])
def test_half_a_pair_is_checked_and_is_not_whole(pair: Pair) -> None:
    entries = {"k.a": entry(4, 99), "k.b": entry(99, 4)}
    assert [code for code, _ in named(check_shapes({"k": pair}, entries, FACTS))] == [
        "SHAPE_MISMATCH"
    ]
    assert find_whole({"k": pair}, {"k.a": entry(4, 16), "k.b": entry(8, 4)}, FACTS) == {}


def test_ranks_are_compared_with_the_configs() -> None:
    targets = {"q": Target(4, 1.0), "k": Target(2, 1.0)}
    (violation,) = check_ranks({"q": 4, "k": 3, "o": 5}, targets, LIMITS, FACTS)
    assert violation == Violation("RANK_MISMATCH", "k", "rank 3", "rank 2")


def test_each_rank_above_the_limit_and_each_bad_scaling_is_named_once() -> None:
    ranks = {"q": 9, "k": 9, "o": 10}
    targets = {"q": Target(9, 0.0), "k": Target(9, -1.0), "o": Target(10, -1.0)}
    assert list(check_ranks(ranks, targets, LIMITS, FACTS)) == [
        Violation("RANK_LIMIT", "q", "rank 9", "at most 8"),
        Violation("RANK_LIMIT", "o", "rank 10", "at most 8"),
        Violation("SCALE_RANGE", "q", "scaling 0", "above 0"),
        Violation("SCALE_RANGE", "k", "scaling -1", "above 0"),
    ]


def test_an_image_above_the_arenas_budget_is_refused_with_both_figures() -> None:
    limits = Limits(max_rank=8, max_file_bytes=1, arena_bytes=511)
    (violation,) = check_ranks({"q": 8}, {}, limits, FACTS)
    assert violation == Violation(
        "IMAGE_TOO_LARGE", "", "an image of 512 bytes", "at most 511 bytes"
    )
    assert not list(check_ranks({"q": 8}, {}, Limits(8, 1, 512), FACTS))


@pytest.mark.parametrize(
    ("stored", "dtype", "found"),
    [
        (1.0, torch.float16, None),
        (1e5, torch.float32, None),
        (1e5, torch.float16, "infinity after the cast to torch.float16"),
        (3.4e38, torch.bfloat16, "infinity after the cast to torch.bfloat16"),
        (torch.nan, torch.float32, "NaN or infinity"),
        (torch.inf, torch.float16, "NaN or infinity"),
    ],
    ids=str,
)
def test_values_are_finite_as_stored_and_as_served(
    stored: float, dtype: torch.dtype, found: str | None
) -> None:
    tensor = torch.tensor([[0.0, stored, -1.0]])
    for matrix in (tensor, -tensor):
        checked = check_values("key", matrix, matrix.to(dtype))
        assert [v.found for v in checked.violations] == ([] if found is None else [found])
        assert not checked.is_zero


def test_a_matrix_that_is_zero_as_served_is_zero() -> None:
    tiny = torch.full((2, 2), 1e-9)
    assert not check_values("key", tiny, tiny).is_zero
    assert check_values("key", tiny, tiny.half()).is_zero
    assert check_values("key", torch.zeros(2, 2), torch.zeros(2, 2)).is_zero
