"""SGLang's ways to add LoRA: csgmv, with and without its K split, triton, and the v2 runner."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from weft.bench.errors import NotApplicable
from weft.bench.lora_contender import AddDelta, LoraInputs
from weft.bench.popularity import Ints

from .pools import Pool, choose_pool
from .standins import Borrowed, borrow, find_root

PACKAGE = "sglang"
_DENSE, _RUNNER = "kernels.ops.lora.dense", "srt.lora.dense"
SHRINK, EXPAND = f"{_DENSE}.chunked_sgmv_shrink", f"{_DENSE}.chunked_sgmv_expand"
SGEMM_A, SGEMM_B = f"{_DENSE}.sgemm_lora_a", f"{_DENSE}.sgemm_lora_b"
QKV_B, GATE_UP_B = f"{_DENSE}.qkv_lora_b", f"{_DENSE}.gate_up_lora_b"
RECORDS, WORKSPACE = "srt.lora.utils", "srt.lora.workspace"
RUNNER, PLAN = f"{_RUNNER}.runner", f"{_RUNNER}.plan"
FILES = (
    "kernels/ops/lora/common/*.py",
    "kernels/ops/lora/dense/*.py",
    "kernels/ops/lora/dense/csgmv_configs/*/*.json",
    "kernels/ops/lora/moe/virtual_experts.py",
    "srt/lora/utils.py",
    "srt/lora/workspace.py",
    "srt/lora/dense/*.py",
    "srt/lora/dense/configs/*.json",
)
"""What the pack holds of the package."""

CHUNK_ROWS = 16
SPLITS = {4096: 8, 12288: 16}
"""K splits that SGLang's authors measured, by in-features; it takes them at rank 32 only."""
CAPTURED_SEGMENTS = 256
SMALL_ROUTE_ROWS, SMALL_ROUTE_ROWS_OF_4_SLOTS, LARGE_ROUTE_ROWS = 512, 768, 16_384


@dataclass(frozen=True, slots=True)
class Csgmv:
    """Chunks of 16 rows of one slot; the base model has a slot of rank 0.

    Attributes:
        split_k: Split the shrink over K, in as many parts as its authors chose for that size.
        as_served: The grid is that of a graph captured for 256 rows.
    """

    split_k: bool = False
    as_served: bool = False

    @property
    def name(self) -> str:
        name = "sglang-csgmv-splitk" if self.split_k else "sglang-csgmv"
        return f"{name} as served" if self.as_served else name

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Stacked pools, and chunks of the sorted rows."""
        peer = load_kernels()
        pool = choose_pool(inputs, as_served=self.as_served)
        num_slices = len(inputs.site.out_features)
        a, b = pool.stack_a(inputs), pool.stack_b(inputs)
        info = _describe(peer, inputs, pool, CHUNK_ROWS, is_captured=self.as_served)
        offsets = torch.tensor(_offsets(inputs), dtype=torch.int32)
        offsets_on_device = offsets.to(a.device)
        parts = SPLITS[min(SPLITS, key=lambda k: abs(k - inputs.site.in_features))]
        shrink = peer[SHRINK].chunked_sgmv_lora_shrink_forward
        expand = peer[EXPAND].chunked_sgmv_lora_expand_forward
        widest = max(inputs.site.out_features)

        def add_delta(y_TN: Tensor) -> None:
            v = shrink(inputs.x_TK, a, info, num_slices, split_k=parts if self.split_k else None)
            expand(v, b, info, offsets_on_device, widest, y_TN, offsets)

        return add_delta


@dataclass(frozen=True, slots=True)
class Sgemm:
    """The kernels of its triton backend: a segment per slot, rows sorted by it."""

    as_served: bool = False

    @property
    def name(self) -> str:
        return "sglang-triton as served" if self.as_served else "sglang-triton"

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Stacked pools, and one segment of the sorted rows per slot.

        Raises:
            NotApplicable: Two slices of two sizes: for no such site has SGLang a kernel.
        """
        peer = load_kernels()
        pool = choose_pool(inputs, as_served=self.as_served)
        a, b = pool.stack_a(inputs), pool.stack_b(inputs)
        info = _describe(peer, inputs, pool, len(inputs.x_TK))
        shrink, num_slices = peer[SGEMM_A].sgemm_lora_a_fwd, len(inputs.site.out_features)
        expand = _choose_expand(peer, inputs)

        def add_delta(y_TN: Tensor) -> None:
            expand(shrink(inputs.x_TK, a, info, num_slices), b, info, y_TN)

        return add_delta


@dataclass(frozen=True, slots=True)
class V2:
    """The runner that takes its kernels from a table of plans."""

    as_served: bool = False

    @property
    def name(self) -> str:
        return "sglang-v2 as served" if self.as_served else "sglang-v2"

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Stacked pools, the plan, and by a first run routes and scratch.

        Raises:
            NotApplicable: As many rows as only SGLang's compiled op routes, or no GPU.
        """
        peer = load_runner()
        pool = choose_pool(inputs, as_served=self.as_served)
        x_TK, offsets = inputs.x_TK, _offsets(inputs)
        _check_route(len(x_TK), pool)
        if not x_TK.is_cuda:
            raise NotApplicable("a GPU only")
        a, b = pool.stack_a(inputs), pool.stack_b(inputs)
        with peer.present():
            runner = _start_runner(peer, inputs, pool)
            plan = runner.plan_for(
                peer[PLAN].DenseLoraKind.LINEAR,
                pool.rank,
                inputs.site.in_features,
                offsets[-1],
                num_tokens=len(x_TK),
            )

            def add_delta(y_TN: Tensor) -> None:
                bridge = runner.run_a(x_TK, a, stack=len(offsets) - 1, plan=plan)
                runner.run_b(bridge, b, y_TN, offsets=offsets, plan=plan)

            add_delta(x_TK.new_zeros(len(x_TK), offsets[-1]))
        return add_delta


@cache
def load_kernels() -> Borrowed:
    """Import csgmv and triton.

    Raises:
        PeerMissing: SGLang is not installed.
    """
    names = (SHRINK, EXPAND, SGEMM_A, SGEMM_B, QKV_B, GATE_UP_B, RECORDS)
    return borrow(PACKAGE, names, standins=_standins(), root=find_root(PACKAGE))


@cache
def load_runner() -> Borrowed:
    """Import v2.

    Raises:
        PeerMissing: SGLang is not installed, or neither are msgspec and pydantic.
    """
    names = (RUNNER, PLAN, WORKSPACE, RECORDS)
    return borrow(PACKAGE, names, standins=_standins(), root=find_root(PACKAGE))


def _offsets(inputs: LoraInputs) -> tuple[int, ...]:
    return (0, *(columns.stop for columns in inputs.site.outputs))


def _describe(
    peer: Borrowed, inputs: LoraInputs, pool: Pool, max_len: int, *, is_captured: bool = False
) -> object:
    """SGLang's record of the batch: segments of at most `max_len` rows of one slot."""
    device = inputs.x_TK.device
    base = pool.num_slots
    slot_T = np.where(inputs.slot_T < 0, base, inputs.slot_T)
    order = np.argsort(slot_T, kind="stable")
    starts, slots = _cut(slot_T[order], max_len)
    num_unused = max(0, CAPTURED_SEGMENTS - len(slots)) if is_captured else 0
    indptr = np.concatenate([starts, np.full(num_unused + 1, len(order))])
    weights = np.concatenate([slots, np.full(num_unused, base)])
    ranks = np.zeros(base + 1)
    ranks[: inputs.num_slots] = inputs.ranks

    def put(numbers: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int32)).to(device)

    return peer[RECORDS].LoRABatchInfo(
        use_cuda_graph=is_captured,
        bs=len(slots),
        num_segments=len(slots),
        seg_indptr=put(indptr),
        weight_indices=put(weights),
        lora_ranks=put(ranks),
        scalings=torch.ones(base + 1, device=device),
        max_len=max_len,
        seg_lens=put(np.diff(indptr)),
        permutation=put(order),
    )


def _cut(sorted_T: Ints, max_len: int) -> tuple[list[int], list[int]]:
    """Where segments start, and their slots."""
    starts: list[int] = []
    slots: list[int] = []
    for slot in np.unique(sorted_T).tolist():
        first, stop = np.searchsorted(sorted_T, [slot, slot + 1]).tolist()
        own = range(first, stop, max_len)
        starts += own
        slots += [slot] * len(own)
    return starts, slots


def _choose_expand(
    peer: Borrowed, inputs: LoraInputs
) -> Callable[[Tensor, Tensor, object, Tensor], object]:
    sizes = inputs.site.out_features
    if len(sizes) == 1:
        one = peer[SGEMM_B].sgemm_lora_b_fwd
        return lambda v, b, info, y_TN: one(v, b, info, y_TN)
    if len(sizes) == 2 and sizes[0] == sizes[1]:
        pair = peer[GATE_UP_B].gate_up_lora_b_fwd
        return lambda v, b, info, y_TN: pair(v, b, info, sizes[0], y_TN)
    many = peer[QKV_B].qkv_lora_b_fwd
    offsets = torch.tensor(_offsets(inputs), dtype=torch.int32, device=inputs.x_TK.device)
    return lambda v, b, info, y_TN: many(v, b, info, offsets, max(sizes), y_TN, len(sizes))


def _check_route(num_rows: int, pool: Pool) -> None:
    small = SMALL_ROUTE_ROWS_OF_4_SLOTS if pool.num_slots <= 4 else SMALL_ROUTE_ROWS
    if small < num_rows < LARGE_ROUTE_ROWS:
        raise NotApplicable("routes by an op that only the whole package has")


class _Runner(Protocol):
    """What V2 calls of SGLang's runner."""

    def begin_batch(self, **batch: object) -> None: ...

    def plan_for(self, *shape: object, num_tokens: int) -> object: ...

    def run_a(self, x_TK: Tensor, a: Tensor, *, stack: int, plan: object) -> object: ...

    def run_b(
        self, bridge: object, b: Tensor, y_TN: Tensor, *, offsets: tuple[int, ...], plan: object
    ) -> object: ...


def _start_runner(peer: Borrowed, inputs: LoraInputs, pool: Pool) -> _Runner:
    device = inputs.x_TK.device
    ranks = torch.zeros(pool.num_slots, dtype=torch.int32)
    ranks[: inputs.num_slots] = torch.tensor(inputs.ranks, dtype=torch.int32)
    phases = peer[RECORDS].Phase
    runner: _Runner = peer[RUNNER].DenseLoraRunner(
        _make_workspace(peer[WORKSPACE]), max_loras=pool.num_slots, device=device
    )
    runner.begin_batch(
        token_slots=torch.from_numpy(inputs.slot_T).to(device),
        lora_ranks=ranks.to(device),
        scalings=torch.ones(pool.num_slots, device=device),
        num_tokens=len(inputs.x_TK),
        phase=phases.PREFILL if inputs.has_prefill else phases.DECODE,
        graph_mode=True,
    )
    return runner


def _make_workspace(module: ModuleType) -> object:
    """A workspace whose routes, made in `prepare`, hold on the stream of a capture too."""
    kind = type("OneStream", (module.LoraWorkspace,), {"_caller": staticmethod(lambda _device: 0)})
    return kind()


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _leave_kernel(_key: object) -> Callable[[object], object]:
    """In place of SGLang's cache of launches, which saves host time; graphs have none."""
    return lambda kernel: kernel


def _route_by_compiled_op(*_arguments: object, **_options: object) -> None:
    raise AssertionError("V2 takes no rows that need it")


def _standins() -> dict[str, dict[str, object]]:
    def flag(value: object) -> SimpleNamespace:
        return SimpleNamespace(get=lambda: value)

    envs = SimpleNamespace(
        SGLANG_ENABLE_LORA_CSGMV_SPLIT_K=flag(False),  # Csgmv says how it splits
        SGLANG_ENABLE_DETERMINISTIC_INFERENCE=flag(False),
        SGLANG_LORA_DENSE_CONFIG_DIR=flag(None),
    )
    return {
        "srt.environ": {"envs": envs},
        "srt.utils": {"cached_triton_kernel": _leave_kernel, "get_device_name": _device_name},
        "srt.utils.common": {"direct_register_custom_op": lambda **_op: None},
        "srt.utils.hf_transformers_utils": {"AutoConfig": object},
        "srt.model_executor.forward_batch_info": {"ForwardBatch": object},
        "kernels.ops.moe.moe_align": {"moe_align_block_size": _route_by_compiled_op},
    }
