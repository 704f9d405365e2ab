"""Attention over the paged cache, as the function that transformers calls in every layer."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from .attention_kernels import KernelAttention
from .batch import ModelBatch
from .kv_cache import AttentionLayer, KVCache
from .rotation import Rotary, run_under

if TYPE_CHECKING:
    from .attention_cpu import CpuAttention

AttentionResult: TypeAlias = tuple[Tensor, None]
AttentionPath: TypeAlias = "CpuAttention | KernelAttention"


class PagedAttention:
    """The attention of one loaded model: owns the layer records and the step that is running.

    Attributes:
        rotary: Rotates, and writes keys and values, in place of the modelling code; None = not.
    """

    def __init__(self, layers: tuple[AttentionLayer, ...], path: AttentionPath) -> None:
        self.layers = layers
        self.name = register(self.attend)
        self.rotary: Rotary | None = None
        self._path = path
        self._place = {layer.index: place for place, layer in enumerate(layers)}
        self._cache: KVCache | None = None
        self._batch: ModelBatch | None = None

    @property
    def tile_tokens(self) -> frozenset[int]:
        """Tokens in the tiles of queries that its path reads."""
        return self._path.tile_tokens

    def begin(self, batch: ModelBatch, cache: KVCache) -> None:
        """Start a step: every layer that is called until `end` works on this batch."""
        self._batch, self._cache = batch, cache
        self._path.begin(batch)
        run_under(self.rotary)

    def end(self) -> None:
        """Let go of the step's tensors."""
        self._batch = self._cache = None
        self._path.end()
        run_under(None)
        if self.rotary is not None:
            self.rotary.end()

    def attend(
        self,
        module: nn.Module,
        q_1HTD: Tensor,
        k_1GTD: Tensor,
        v_1GTD: Tensor,
        attention_mask: Tensor | None = None,
        *,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> AttentionResult:
        """Write the new keys and values, attend; `[1, T, H, Dv]`.

        What the model passes by other keywords has been recorded in `layers` at load.
        """
        assert attention_mask is None
        assert self._batch is not None
        assert self._cache is not None
        place = self._place[layer_index(module)]
        k_PZGD, v_PZGD = self._cache.k[place], self._cache.v[place]
        index_T = self._batch.cache_index_T
        written = self.rotary is not None and self.rotary.write(
            q_1HTD, k_1GTD, v_1GTD, index_T, k_PZGD, v_PZGD
        )
        if not written:
            k_PZGD.flatten(0, 1).index_copy_(0, index_T, k_1GTD[0].transpose(0, 1))
            v_PZGD.flatten(0, 1).index_copy_(0, index_T, v_1GTD[0].transpose(0, 1))
        q_THD = q_1HTD[0].transpose(0, 1)
        out_THD = self._path.attend(q_THD, k_PZGD, v_PZGD, self.layers[place], s_aux)
        return out_THD[None], None


def choose_path(
    layers: tuple[AttentionLayer, ...], dtype: torch.dtype, device: torch.device
) -> AttentionPath:
    """The Triton kernels on a GPU, the loops of the CPU elsewhere."""
    if device.type == "cuda":
        return KernelAttention(layers, dtype, device)
    from .attention_cpu import CpuAttention  # here, for numba need not be there beside a GPU

    return CpuAttention(dtype)


def register(attend: Callable[..., AttentionResult]) -> str:
    """Make `attend` known to transformers under a name of its own, and return the name."""
    name = f"weft_{uuid.uuid4().hex}"  # a plain word: `owner/name` would mean a kernel of the hub
    AttentionInterface.register(name, attend)
    return name


def layer_index(module: nn.Module) -> int:
    index = module.layer_idx
    assert isinstance(index, int)
    return index
