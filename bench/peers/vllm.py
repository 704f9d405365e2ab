"""vLLM's lora_shrink and lora_expand, with its own metadata."""

from dataclasses import dataclass
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from weft.bench.errors import NotApplicable
from weft.bench.lora_contender import AddDelta, LoraInputs

from .pools import choose_pool
from .standins import Borrowed, borrow, find_root

PACKAGE = "vllm"
_OPS = "lora.ops.triton_ops"
SHRINK, EXPAND = f"{_OPS}.lora_shrink_op", f"{_OPS}.lora_expand_op"
METADATA, POINTERS = f"{_OPS}.lora_kernel_metadata", f"{_OPS}.utils"
FILES = ("lora/ops/triton_ops/*.py",)
"""What the pack holds of the package."""


@dataclass(frozen=True, slots=True)
class Vllm:
    """Two launches over all slots and rows; shrink adds up in fp32, by atomics."""

    as_served: bool = False

    @property
    def name(self) -> str:
        return "vllm as served" if self.as_served else "vllm"

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        """Pools by slice, metadata of the rows, and pointer tables by a first run.

        Raises:
            PeerMissing: vLLM is not installed.
            NotApplicable: No adapters, more than the pool holds, or fp32.
        """
        peer = load_peer()
        if inputs.x_TK.dtype == torch.float32:
            raise NotApplicable("16 bits only")
        pool = choose_pool(inputs, as_served=self.as_served)
        x_TK = inputs.x_TK
        a = [a_CRK[:, None] for a_CRK in pool.split_a(inputs)]
        b = [b_CNR[:, None] for b_CNR in pool.split_b(inputs)]
        _forget_addresses(peer, a, b)
        metadata = peer[METADATA].LoRAKernelMeta.make(pool.num_slots, len(x_TK), x_TK.device)
        metadata.prepare_tensors(torch.from_numpy(inputs.slot_T).to(x_TK.device))
        arguments = metadata.meta_args(len(x_TK), False)
        v_STR = x_TK.new_empty((len(a), len(x_TK), pool.rank), dtype=torch.float32)
        shrink, expand = peer[SHRINK].lora_shrink, peer[EXPAND].lora_expand

        def add_delta(y_TN: Tensor) -> None:
            shrink(x_TK, a, v_STR, *arguments, 1.0)
            expand(v_STR, b, y_TN, *arguments, add_inputs=True)

        add_delta(x_TK.new_zeros(len(x_TK), inputs.site.outputs[-1].stop))
        return add_delta


@cache
def load_peer() -> Borrowed:
    """Import the kernels.

    Raises:
        PeerMissing: vLLM is not installed.
    """
    names = (SHRINK, EXPAND, METADATA, POINTERS)
    return borrow(PACKAGE, names, standins=_standins(), root=find_root(PACKAGE))


def _forget_addresses(peer: Borrowed, a: list[Tensor], b: list[Tensor]) -> None:
    """Drop what vLLM keeps by address of tensors that lay where the pools lie."""
    pointers = peer[POINTERS]
    pointers._LORA_A_PTR_DICT.pop(tuple(pool.data_ptr() for pool in a), None)
    pointers._LORA_B_PTR_DICT.pop(tuple(pool.data_ptr() for pool in b), None)


class _Quiet:
    def info_once(self, *_message: object) -> None:
        """Say nothing: which table vLLM takes is no news in a bench."""

    warning_once = info_once


class _Platform:
    def is_cuda(self) -> bool:
        return torch.cuda.is_available()

    def has_device_capability(self, capability: int) -> bool:
        major, minor = torch.cuda.get_device_capability()
        return 10 * major + minor >= capability


def _stay_plain(**_op: object) -> None:
    """Leave vLLM's op a function: it catches this error for builds that have no torch.library."""
    raise AttributeError


def _copy_to_device(data: list[int], *, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(data, dtype=dtype, device=device)


def _standins() -> dict[str, dict[str, object]]:
    return {
        "envs": {
            "VLLM_BATCH_INVARIANT": False,
            "VLLM_TUNED_CONFIG_FOLDER": None,
            "VLLM_LORA_ENABLE_DUAL_STREAM": False,
            "VLLM_LORA_DISABLE_PDL": False,
        },
        "logger": {"init_logger": lambda _name: _Quiet()},
        "platforms": {"current_platform": _Platform()},
        "triton_utils": {"tl": tl, "triton": triton},
        "utils.math_utils": {"next_power_of_2": triton.next_power_of_2},
        "utils.torch_utils": {
            "direct_register_custom_op": _stay_plain,
            "async_tensor_h2d": _copy_to_device,
        },
    }
