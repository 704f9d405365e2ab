"""Examples to batches: the held-out part, the order of training, and rows packed side by side.

A step's rows are chosen before they are packed, so packing and the size of a micro-batch change
how a step is computed and never what it learns from. Packs are not padded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from .dataset import Row
from .seeds import stream, stream_seed
from .template import Example

MAX_HELD_OUT_ROWS = 500


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows side by side in one sequence; each keeps its own positions, from 0.

    Attributes:
        ids_T, positions_T: int64; a position that does not follow its predecessor starts a row.
        source_at: int64, where the hidden states stand that predict a trained token.
        targets: int64, those tokens.
        rows: Numbers of the rows in it.
    """

    ids_T: Tensor
    positions_T: Tensor
    source_at: Tensor
    targets: Tensor
    rows: tuple[int, ...]

    def to(self, device: torch.device) -> "MicroBatch":
        return MicroBatch(
            self.ids_T.to(device),
            self.positions_T.to(device),
            self.source_at.to(device),
            self.targets.to(device),
            self.rows,
        )


def split_rows(
    rows: Sequence[Row], fraction: float, seed: int
) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Divide rows into a trained and a held-out part, by the hash of their content and the seed.

    A row keeps its side when others are added, up to 500 held-out rows; equal rows share a side.
    """
    key = stream_seed(seed, "split")
    drawn = {row.digest: stream_seed(key, row.digest) / 2**56 for row in rows}
    held_out = sorted(digest for digest, u in drawn.items() if u < fraction)
    if fraction > 0 and not held_out and len(drawn) > 1:
        held_out = [min(drawn, key=lambda digest: drawn[digest])]
    chosen = set(sorted(held_out, key=lambda digest: drawn[digest])[:MAX_HELD_OUT_ROWS])
    return (
        tuple(row for row in rows if row.digest not in chosen),
        tuple(row for row in rows if row.digest in chosen),
    )


def plan_steps(
    lengths: Sequence[int], *, batch_tokens: int, epochs: float, seed: int
) -> tuple[tuple[int, ...], ...]:
    """Choose the examples of every step, by index: `batch_tokens` at most, but always one.

    Each epoch is a permutation of its own; the last one is cut short when `epochs` is not whole.
    """
    assert lengths
    steps: list[tuple[int, ...]] = []
    remaining = round(Fraction(epochs) * len(lengths))
    epoch = 0
    while remaining > 0:
        order = torch.randperm(len(lengths), generator=stream(seed, f"order:{epoch}")).tolist()
        steps += group(order[:remaining], lengths, batch_tokens)
        remaining -= len(lengths)
        epoch += 1
    return tuple(steps)


def group(order: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[tuple[int, ...]]:
    """Cut an order into runs of at most `batch_tokens` tokens, or of one longer example."""
    groups: list[tuple[int, ...]] = []
    current: list[int] = []
    filled = 0
    for index in order:
        if current and filled + lengths[index] > batch_tokens:
            groups.append(tuple(current))
            current, filled = [], 0
        current.append(index)
        filled += lengths[index]
    return [*groups, tuple(current)]


def pack(lengths: Sequence[int], capacity: int) -> tuple[tuple[int, ...], ...]:
    """Fill packs of `capacity` tokens: longest first, each into the fullest pack it fits."""
    packs: list[list[int]] = []
    free: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fits = [at for at, room in enumerate(free) if room >= lengths[index]]
        if fits:
            at = min(fits, key=lambda i: free[i])
        else:
            at = len(packs)
            packs.append([])
            free.append(max(capacity, lengths[index]))
        packs[at].append(index)
        free[at] -= lengths[index]
    return tuple(tuple(members) for members in packs)


def make_micro_batches(
    examples: Sequence[Example], *, capacity: int | None
) -> tuple[MicroBatch, ...]:
    """Lay examples out in packs of `capacity` tokens; None gives every example its own."""
    if capacity is None:
        return tuple(lay_out([example]) for example in examples)
    packs = pack([example.num_tokens for example in examples], capacity)
    return tuple(lay_out([examples[i] for i in members]) for members in packs)


def lay_out(examples: Iterable[Example]) -> MicroBatch:
    """Put examples one after another."""
    members = list(examples)
    ids = np.concatenate([example.ids for example in members])
    positions = np.concatenate([np.arange(example.num_tokens) for example in members])
    trained_at = np.flatnonzero(np.concatenate([example.trained for example in members]))
    return MicroBatch(
        torch.from_numpy(ids),
        torch.from_numpy(positions),
        torch.from_numpy(trained_at - 1),
        torch.from_numpy(ids[trained_at]),
        tuple(example.row for example in members),
    )
