"""The base product of Linears that share an input: one by one, merged, packed or quantised."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.kernels.quantise import quantise_rows as quantise_rows_fp8
from weft.kernels.reference_quantise import quantise_rows

QuantiseRows: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]


class Separate:
    """`x_TK` through each Linear, the outputs side by side."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self.linears = tuple(linears)

    def __call__(self, x_TK: Tensor) -> Tensor:
        outputs = [F.linear(x_TK, linear.weight, linear.bias) for linear in self.linears]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)


class Merged:
    """One product for all. The Linears keep views of its weight, so that undoing costs nothing."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        self.linears = tuple(linears)
        biases = [linear.bias for linear in linears if linear.bias is not None]
        self.weight_NK = _own_as_views([linear.weight for linear in linears])
        self.bias_N = _own_as_views(biases) if biases else None

    def __call__(self, x_TK: Tensor) -> Tensor:
        return F.linear(x_TK, self.weight_NK, self.bias_N)


class Packed:
    """The merged product with its weight in the layout that oneDNN wants for itself.

    `F.linear` brings the weight into that layout at every call. Measured with 16 rows, one thread,
    AVX512-bf16, torch 2.13: 0.62 of its time in bf16, with the same bits; 0.40 in float32.

    Args:
        keep: Leave the plain weight where it is, for another reader; else the Linears get an
            empty stand-in of the same shape, dtype and device, and `unpack` restores them.
    """

    def __init__(self, merged: Merged, *, keep: bool) -> None:
        self.linears = merged.linears
        self.bias_N = merged.bias_N
        self._keep = keep
        self._weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(merged.weight_NK)
        if not keep:
            _free(self.linears)

    def __call__(self, x_TK: Tensor) -> Tensor:
        y_TN: Tensor = torch.ops.mkldnn._linear_pointwise(
            x_TK, self._weight, self.bias_N, "none", [], ""
        )
        return y_TN

    def unpack(self) -> None:
        """Give the Linears their values back."""
        if not self._keep:
            rows = [len(linear.weight) for linear in self.linears]
            plain = torch.split(self._weight.to_dense(), rows)
            for linear, weight_NK in zip(self.linears, plain, strict=True):
                linear.weight.data = weight_NK


class Int8:
    """The merged product in whole numbers, on a CPU: a scale per row of x and per row of W.

    One scale for all of x would be set by its largest channel: with one that is 40 times as large
    as the others, the result is off by 28 %, and with a scale per row by 4 to 7 %.

    The Linears get empty stand-ins of their weights, for good.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        from weft.kernels import quantise_cpu, simd  # here, for numba need not be beside a GPU

        self._ops = quantise_cpu
        self._zero_point = simd.ZERO_POINT
        q_NK, scale_N1, self._bias_N = _quantise(linears, torch.int8)
        self._weight: Tensor = torch.ops.onednn.qlinear_prepack(q_NK, None)
        self._scale_N = scale_N1.flatten()
        self._zero_N = torch.zeros(len(q_NK), dtype=torch.int32)

    def __call__(self, x_TK: Tensor) -> Tensor:
        q_TK, scale_T1 = self._ops.quantise_rows_cpu(x_TK.contiguous())
        y_TN: Tensor = torch.ops.onednn.qlinear_pointwise(
            q_TK, 1.0, self._zero_point, self._weight, self._scale_N, self._zero_N,
            None, 1.0, 0, x_TK.dtype, "none", [], "",
        )  # fmt: skip
        self._ops.rescale_rows_cpu(y_TN, scale_T1, self._bias_N)
        return y_TN


class Fp8:
    """The merged product in e4m3, with the scales of `Int8`; the Linears get empty stand-ins."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        q_NK, scale_N1, self._bias_N = _quantise(linears, torch.float8_e4m3fn)
        self._weight_KN, self._scale_1N = q_NK.t(), scale_N1.t()
        define = partial(quantise_rows, dtype=q_NK.dtype)
        self._quantise_rows: QuantiseRows = quantise_rows_fp8 if q_NK.is_cuda else define

    def __call__(self, x_TK: Tensor) -> Tensor:
        q_TK, scale_T1 = self._quantise_rows(x_TK)
        return torch._scaled_mm(
            q_TK,
            self._weight_KN,
            scale_a=scale_T1,
            scale_b=self._scale_1N,
            bias=self._bias_N,
            out_dtype=x_TK.dtype,
        )


QuantisedProduct: TypeAlias = Int8 | Fp8
Product: TypeAlias = Separate | Merged | Packed | QuantisedProduct


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether this machine's oneDNN multiplies in `dtype`."""
    if device.type != "cpu" or not torch._C._has_mkldnn:
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return dtype == torch.float32


def _quantise(
    linears: Sequence[nn.Linear], dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The weights of all, quantised row by row, their scales, and the bias; the plain are freed."""
    q_NK, scale_N1 = quantise_rows(torch.cat([linear.weight.data for linear in linears]), dtype)
    biases = [linear.bias.data for linear in linears if linear.bias is not None]
    _free(linears)
    return q_NK, scale_N1, torch.cat(biases) if biases else None


def _free(linears: Sequence[nn.Linear]) -> None:
    """Put stand-ins of the same shape, dtype and device in the place of the weights."""
    for linear in linears:
        linear.weight.data = linear.weight.new_empty(1).expand(linear.weight.shape)


def _own_as_views(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0].data
    whole = torch.cat([part.data for part in parts])
    for part, own in zip(parts, torch.split(whole, [len(part) for part in parts]), strict=True):
        part.data = own
    return whole
