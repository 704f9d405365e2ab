"""Tiny inputs for every way to add LoRA, and the comparison with the definition."""

import numpy as np
import pytest
import torch

from weft.bench.errors import PeerMissing
from weft.bench.lora_contender import LoraContender, LoraInputs, define_delta
from weft.bench.peers.standins import find_root
from weft.bench.popularity import Ints
from weft.bench.trials import TOLERANCE, relative_error
from weft.kernels import Site

SITES = {
    1: Site(160, (48,), first=0),
    2: Site(64, (48, 48), first=0),
    3: Site(96, (64, 16, 16), first=0),
}


def draw(
    slot_T: Ints,
    ranks: tuple[int, ...],
    *,
    num_slices: int = 1,
    dtype: torch.dtype = torch.float32,
    has_prefill: bool = False,
) -> LoraInputs:
    site, random = SITES[num_slices], torch.Generator().manual_seed(0)

    def normal(rows: int, columns: int, scale: float) -> torch.Tensor:
        return (torch.randn(rows, columns, generator=random) * scale).to(dtype)

    return LoraInputs(
        site=site,
        slot_T=slot_T,
        has_prefill=has_prefill,
        ranks=ranks,
        a=tuple(
            tuple(normal(r, site.in_features, site.in_features**-0.5) for _ in site.out_features)
            for r in ranks
        ),
        b=tuple(tuple(normal(r, n, r**-0.5) for n in site.out_features) for r in ranks),
        x_TK=normal(len(slot_T), site.in_features, 1.0),
    )


def slots_of(*slots: int) -> Ints:
    return np.array(slots, np.int32)


def check(contender: LoraContender, inputs: LoraInputs) -> None:
    """Twice in place, on a random output: base rows and other columns stay."""
    delta_TN = define_delta(inputs)
    first_TN = torch.randn(delta_TN.shape, generator=torch.Generator().manual_seed(1))
    y_TN = first_TN.to(inputs.x_TK.dtype)
    before_TN = y_TN.clone()
    add_delta = contender.prepare(inputs)
    add_delta(y_TN)
    add_delta(y_TN)
    error = relative_error(y_TN - before_TN, 2 * delta_TN)
    assert error <= 2 * TOLERANCE[y_TN.dtype], f"{contender.name}: y_TN {error:.1e}"
    is_base = torch.from_numpy(inputs.slot_T < 0)
    assert torch.equal(y_TN[is_base], before_TN[is_base]), f"{contender.name}: a base row changed"


def require(package: str) -> None:
    """Skip where the package is neither installed nor packed."""
    try:
        find_root(package)
    except PeerMissing as missing:
        pytest.skip(str(missing))
