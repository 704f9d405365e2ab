"""How servers that pad hold a site's adapters: every slot has the rank of the pool."""

from dataclasses import dataclass

from torch import Tensor

from weft.bench.errors import NotApplicable
from weft.bench.lora_contender import LoraInputs

SERVED_SLOTS = 64
SERVED_RANK = 64


@dataclass(frozen=True, slots=True)
class Pool:
    """The size of a pool: `L` slots of rank `R`, for sites of `S` slices."""

    num_slots: int
    rank: int

    def stack_a(self, inputs: LoraInputs) -> Tensor:
        """`[L, S·R, K]`; a slot of rank r has its slices at rows `[s·r, (s + 1)·r)`."""
        num_slices, keys = len(inputs.site.out_features), inputs.site.in_features
        pool = inputs.x_TK.new_zeros(self.num_slots, num_slices * self.rank, keys)
        for slot, (rank, slices) in enumerate(zip(inputs.ranks, inputs.a, strict=True)):
            for j, a_RK in enumerate(slices):
                pool[slot, j * rank : (j + 1) * rank] = a_RK
        return pool

    def stack_b(self, inputs: LoraInputs) -> Tensor:
        """`[L, N, R]`; the slices behind one another."""
        outputs = inputs.site.outputs
        pool = inputs.x_TK.new_zeros(self.num_slots, outputs[-1].stop, self.rank)
        for slot, (rank, slices) in enumerate(zip(inputs.ranks, inputs.b, strict=True)):
            for b_RN, columns in zip(slices, outputs, strict=True):
                pool[slot, columns, :rank] = b_RN.T
        return pool

    def split_a(self, inputs: LoraInputs) -> list[Tensor]:
        """By slice: `[L, R, K]`."""
        pools = [
            inputs.x_TK.new_zeros(self.num_slots, self.rank, inputs.site.in_features)
            for _ in inputs.site.out_features
        ]
        for slot, (rank, slices) in enumerate(zip(inputs.ranks, inputs.a, strict=True)):
            for pool, a_RK in zip(pools, slices, strict=True):
                pool[slot, :rank] = a_RK
        return pools

    def split_b(self, inputs: LoraInputs) -> list[Tensor]:
        """By slice: `[L, n, R]`."""
        stacked = self.stack_b(inputs)
        return [stacked[:, columns].contiguous() for columns in inputs.site.outputs]


def choose_pool(inputs: LoraInputs, *, as_served: bool = False) -> Pool:
    """Exactly what the cell needs, or what a server has whatever its requests need.

    Raises:
        NotApplicable: The cell has no adapter, or more than a server's pool holds.
    """
    if inputs.num_slots == 0:
        raise NotApplicable("no adapters")
    if not as_served:
        return Pool(inputs.num_slots, inputs.max_rank)
    if inputs.num_slots > SERVED_SLOTS or inputs.max_rank > SERVED_RANK:
        raise NotApplicable(f"a pool of {SERVED_SLOTS} slots at rank {SERVED_RANK}")
    return Pool(SERVED_SLOTS, SERVED_RANK)
