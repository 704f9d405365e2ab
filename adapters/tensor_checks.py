"""Checks of an adapter's tensors against its config, its base and the server's limits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from .errors import Violation
from .fields import printable, shorten
from .layout import place_slices, serving_dtype
from .sites import BaseFacts
from .targets import Target
from .tensor_file import DTYPES, Entry
from .tensor_names import Pair

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server admits; `arena_bytes` is the arena's whole budget, for one image."""

    max_rank: int
    max_file_bytes: int
    arena_bytes: int


class WholePair(NamedTuple):
    """The keys of one module's A and B, and the rank that both have."""

    a: str
    b: str
    rank: int


class ValueCheck(NamedTuple):
    """What the values of one matrix show."""

    violations: tuple[Violation, ...]
    is_zero: bool


def check_targets(
    pairs: Mapping[str, Pair], targets: Mapping[str, Target], facts: BaseFacts
) -> Iterator[Violation]:
    """Compare the modules that have tensors with those that the config selects."""
    for name in facts.members:
        if name in targets and name not in pairs:
            yield Violation("TARGET_MISSING", name, "no tensors", "A and B, as the config says")
        if name in pairs and name not in targets:
            yield Violation("TARGET_EXTRA", name, "tensors", "none, as the config says")


def check_shapes(
    pairs: Mapping[str, Pair], entries: Mapping[str, Entry], facts: BaseFacts
) -> Iterator[Violation]:
    """Check that A is [rank, in] and B [out, rank], each in a dtype that is served."""
    members = facts.members
    for name, (a, b) in pairs.items():
        site, member = members[name]
        rank: int | None = None
        if a is not None:
            rank = _rank(entries[a].shape, 0, site.in_features)
            yield from _check_entry(a, entries[a], rank, f"[rank, {site.in_features}]")
        if b is not None:
            b_rank = _rank(entries[b].shape, 1, member.out_features)
            agreed = b_rank if rank is None or b_rank == rank else None
            wanted = f"[{member.out_features}, {rank or 'rank'}]"
            yield from _check_entry(b, entries[b], agreed, wanted)


def find_whole(
    pairs: Mapping[str, Pair], entries: Mapping[str, Entry], facts: BaseFacts
) -> dict[str, WholePair]:
    """Find the modules whose A and B are there and fit the base and each other."""
    return {
        name: WholePair(pair.a, pair.b, rank=entries[pair.a].shape[0])
        for name, pair in pairs.items()
        if pair.a is not None and pair.b is not None
        if not any(check_shapes({name: pair}, entries, facts))
    }


def _rank(shape: tuple[int, ...], axis: int, features: int) -> int | None:
    """The size along `axis` of a matrix whose other side has `features`; None if it is no such."""
    fits = len(shape) == 2 and shape[1 - axis] == features and shape[axis] > 0
    return shape[axis] if fits else None


def _check_entry(key: str, entry: Entry, rank: int | None, wanted: str) -> Iterator[Violation]:
    if rank is None:
        yield Violation("SHAPE_MISMATCH", printable(key), shorten(entry.shape), wanted)
    if entry.dtype not in DTYPES:
        yield Violation("DTYPE", printable(key), printable(entry.dtype), ", ".join(DTYPES))


def check_ranks(
    ranks: Mapping[str, int], targets: Mapping[str, Target], limits: Limits, facts: BaseFacts
) -> Iterator[Violation]:
    """Compare the tensors' ranks with the config's, and both with what this server admits."""
    for name, rank in ranks.items():
        if name in targets and targets[name].rank != rank:
            yield Violation("RANK_MISMATCH", name, f"rank {rank}", f"rank {targets[name].rank}")
    for rank, name in _first_of_each(ranks).items():
        if rank > limits.max_rank:
            yield Violation("RANK_LIMIT", name, f"rank {rank}", f"at most {limits.max_rank}")
    scalings = {name: target.scaling for name, target in targets.items()}
    for scaling, name in _first_of_each(scalings).items():
        if scaling <= 0:
            yield Violation("SCALE_RANGE", name, f"scaling {scaling:g}", "above 0")
    size = place_slices(facts, ranks).num_elements * serving_dtype(facts).itemsize
    if size > limits.arena_bytes:
        limit = f"at most {limits.arena_bytes} bytes"
        yield Violation("IMAGE_TOO_LARGE", "", f"an image of {size} bytes", limit)


def _first_of_each(values: Mapping[str, _Number]) -> dict[_Number, str]:
    """Invert: for each value, the first name that has it."""
    names: dict[_Number, str] = {}
    for name, value in values.items():
        names.setdefault(value, name)
    return names


def check_values(key: str, stored: Tensor, served: Tensor) -> ValueCheck:
    """Check a matrix as it was uploaded, and scaled and cast as it would be served."""
    if not math.isfinite(_largest(stored)):
        return _not_finite(key, "NaN or infinity")
    largest = _largest(served)
    if not math.isfinite(largest):
        return _not_finite(key, f"infinity after the cast to {served.dtype}")
    return ValueCheck((), is_zero=largest == 0)


def _largest(tensor: Tensor) -> float:
    """The largest absolute value, or NaN; one pass, unlike `isfinite`, which takes 10 times it."""
    low, high = torch.aminmax(tensor)
    return float(torch.maximum(-low, high))


def _not_finite(key: str, found: str) -> ValueCheck:
    violation = Violation("NOT_FINITE", printable(key), found, "finite numbers")
    return ValueCheck((violation,), is_zero=False)
