"""Vectors of 16 floats for kernels that numba compiles: what the loops of the CPU path are made of.

LLVM gives a vector the machine's own registers: one of AVX-512, two of AVX2. `load` and `store`
convert from and to what an array holds: float32, the bits of a bfloat16 (as uint16) or of a
float16 (as int16), of which numba knows neither, or whole numbers from -128 to 127 with 128 added
(as uint8), as oneDNN wants them.
"""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
import torch
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16

FLOATS = ir.VectorType(ir.FloatType(), LANES)
INTS = ir.VectorType(ir.IntType(32), LANES)
HALVES = ir.VectorType(ir.HalfType(), LANES)
SHORTS = ir.VectorType(ir.IntType(16), LANES)
BYTES = ir.VectorType(ir.IntType(8), LANES)
BITS = ir.VectorType(ir.IntType(1), LANES)

STORED = {torch.float32: np.float32, torch.float16: np.int16, torch.bfloat16: np.uint16}
"""What numpy and numba, who know neither half, take the elements of a tensor for."""

KINDS = {types.float32: FLOATS, types.int16: HALVES, types.uint16: SHORTS, types.uint8: BYTES}
NAMES = {FLOATS: "v16f32", HALVES: "v16f16", SHORTS: "v16i16", BYTES: "v16i8"}

ZERO_POINT = 128
TO_WHOLE = 1.5 * 2**23 + ZERO_POINT
"""Added to a small float, it leaves the nearest whole number, the even of two, in the low bits."""

LOG2_E = np.float32(1.44269504)
LN_2 = (np.float32(0.693359375), np.float32(-2.12194440e-4))  # the first is exact in 10 bits

Builder = Any  # llvmlite ships no types
Codegen = Callable[[Any, Builder, Any, Any], Any]


class Vector(types.Type):  # type: ignore[misc]
    """numba's type of a vector."""

    def __init__(self) -> None:
        super().__init__(name="f32x16")


VECTOR = Vector()


@register_model(Vector)
class VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


@intrinsic
def zeros(_context: Any) -> tuple[Any, Codegen]:
    """Sixteen zeros."""
    return VECTOR(), lambda _c, _b, _s, _a: ir.Constant(FLOATS, [0.0] * LANES)


@intrinsic
def splat(_context: Any, _value: Any) -> tuple[Any, Codegen]:
    """A float32 in every lane."""
    return VECTOR(types.float32), lambda _c, builder, _s, args: _splat(builder, args[0], FLOATS)


@intrinsic
def load(_context: Any, array: Any, _at: Any) -> tuple[Any, Codegen]:
    """The 16 elements of a flat array from `at` on."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        pointer, stored = _place(context, builder, signature, args)
        return _widen(builder, builder.load(pointer, align=_alignment(stored)), stored)

    return VECTOR(array, types.intp), generate


@intrinsic
def load_part(_context: Any, array: Any, _at: Any, _count: Any) -> tuple[Any, Codegen]:
    """The `count` elements from `at` on, then zeros; what lies behind them is not read."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        pointer, stored = _place(context, builder, signature, args)
        read = _masked(builder, "load", stored, [stored.as_pointer(), ir.IntType(32), BITS, stored])
        alignment = ir.Constant(ir.IntType(32), _alignment(stored))
        filling = ir.Constant(stored, None)
        values = builder.call(read, [pointer, alignment, _below(builder, args[2]), filling])
        return _widen(builder, values, stored)

    return VECTOR(array, types.intp, types.intp), generate


@intrinsic
def store(_context: Any, array: Any, _at: Any, _vector: Any) -> tuple[Any, Codegen]:
    """Write 16 elements from `at` on, rounded to the nearest even."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        pointer, stored = _place(context, builder, signature, args)
        builder.store(_narrow(builder, args[2], stored), pointer, align=_alignment(stored))
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR), generate


@intrinsic
def store_part(
    _context: Any, array: Any, _at: Any, _vector: Any, _count: Any
) -> tuple[Any, Codegen]:
    """Write the first `count` elements from `at` on, rounded to the nearest even."""

    def generate(context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        pointer, stored = _place(context, builder, signature, args)
        write = _masked(
            builder, "store", stored, [stored, stored.as_pointer(), ir.IntType(32), BITS]
        )
        alignment = ir.Constant(ir.IntType(32), _alignment(stored))
        values = _narrow(builder, args[2], stored)
        builder.call(write, [values, pointer, alignment, _below(builder, args[3])])
        return context.get_dummy_value()

    return types.void(array, types.intp, VECTOR, types.intp), generate


@intrinsic
def round_to(_context: Any, array: Any, _vector: Any) -> tuple[Any, Codegen]:
    """The nearest values that the array can hold; of two, the even one."""

    def generate(_context: Any, builder: Builder, signature: Any, args: Any) -> Any:
        stored = KINDS[signature.args[0].dtype]
        return _widen(builder, _narrow(builder, args[1], stored), stored)

    return VECTOR(array, VECTOR), generate


@intrinsic
def fma(_context: Any, _a: Any, _b: Any, _c: Any) -> tuple[Any, Codegen]:
    """a * b + c, rounded once."""

    def generate(_context: Any, builder: Builder, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
        name = f"llvm.fma.{NAMES[FLOATS]}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return VECTOR(VECTOR, VECTOR, VECTOR), generate


@intrinsic
def add(_context: Any, _a: Any, _b: Any) -> tuple[Any, Codegen]:
    """a + b."""
    return VECTOR(VECTOR, VECTOR), lambda _c, builder, _s, args: builder.fadd(*args)


@intrinsic
def multiply(_context: Any, _a: Any, _b: Any) -> tuple[Any, Codegen]:
    """a * b."""
    return VECTOR(VECTOR, VECTOR), lambda _c, builder, _s, args: builder.fmul(*args)


@intrinsic
def maximum(_context: Any, _a: Any, _b: Any) -> tuple[Any, Codegen]:
    """The larger of both; a where either is NaN."""
    return VECTOR(VECTOR, VECTOR), lambda _c, builder, _s, args: _larger(builder, *args)


@intrinsic
def total(_context: Any, _vector: Any) -> tuple[Any, Codegen]:
    """The sum of the lanes, in pairs: lane i with lane i + 8, and so on."""
    return types.float32(VECTOR), lambda _c, builder, _s, args: _fold(builder, args[0], _sum)


@intrinsic
def highest(_context: Any, _vector: Any) -> tuple[Any, Codegen]:
    """The largest lane."""
    return types.float32(VECTOR), lambda _c, builder, _s, args: _fold(builder, args[0], _larger)


@njit
def exp(x):
    """e to the x, within 1.2e-7 of itself; what lies below -87 counts as -87, NaN stays NaN.

    Source: the reduction and the polynomial of Cephes' expf, S. Moshier 1992.
    """
    x = maximum(x, splat(np.float32(-87.0)))
    whole = _nearest(multiply(x, splat(LOG2_E)))
    rest = fma(whole, splat(-LN_2[1]), fma(whole, splat(-LN_2[0]), x))
    powers = splat(np.float32(1.9875691500e-4))
    powers = fma(powers, rest, splat(np.float32(1.3981999507e-3)))
    powers = fma(powers, rest, splat(np.float32(8.3334519073e-3)))
    powers = fma(powers, rest, splat(np.float32(4.1665795894e-2)))
    powers = fma(powers, rest, splat(np.float32(1.6666665459e-1)))
    powers = fma(powers, rest, splat(np.float32(0.5)))
    one = splat(np.float32(1.0))
    return multiply(fma(powers, multiply(rest, rest), add(rest, one)), _power_of_two(whole))


@intrinsic
def _nearest(_context: Any, _vector: Any) -> tuple[Any, Codegen]:
    """The nearest whole number."""

    def generate(_context: Any, builder: Builder, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(FLOATS, [FLOATS])
        name = f"llvm.nearbyint.{NAMES[FLOATS]}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return VECTOR(VECTOR), generate


@intrinsic
def _power_of_two(_context: Any, _vector: Any) -> tuple[Any, Codegen]:
    """2 to a whole number from -126 to 127."""

    def generate(_context: Any, builder: Builder, _signature: Any, args: Any) -> Any:
        exponents = builder.add(builder.fptosi(args[0], INTS), _ints(127))
        return builder.bitcast(builder.shl(exponents, _ints(23)), FLOATS)

    return VECTOR(VECTOR), generate


def _sum(builder: Builder, a: Any, b: Any) -> Any:
    return builder.fadd(a, b)


def _larger(builder: Builder, a: Any, b: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", a, b), b, a)


def _fold(builder: Builder, values: Any, combine: Callable[[Builder, Any, Any], Any]) -> Any:
    """Combine lane i with lane i + half of them, until one is left."""
    width = LANES
    while width > 1:
        width //= 2
        kind = ir.VectorType(ir.IntType(32), width)
        low = ir.Constant(kind, list(range(width)))
        high = ir.Constant(kind, list(range(width, 2 * width)))
        halves = [builder.shuffle_vector(values, values, mask) for mask in (low, high)]
        values = combine(builder, *halves)
    return builder.extract_element(values, ir.Constant(ir.IntType(32), 0))


def _place(context: Any, builder: Builder, signature: Any, args: Any) -> tuple[Any, Any]:
    """Where the elements lie, and the type of a vector of them."""
    kind = signature.args[0]
    data = context.make_array(kind)(context, builder, args[0]).data
    stored = KINDS[kind.dtype]
    return builder.bitcast(builder.gep(data, [args[1]]), stored.as_pointer()), stored


def _alignment(stored: Any) -> int:
    return {FLOATS: 4, BYTES: 1}.get(stored, 2)


def _splat(builder: Builder, value: Any, kind: Any) -> Any:
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INTS, [0] * LANES))


def _below(builder: Builder, count: Any) -> Any:
    """A bit per lane: whether it is one of the first `count`."""
    lanes = ir.Constant(INTS, list(range(LANES)))
    return builder.icmp_signed(
        "<", lanes, _splat(builder, builder.trunc(count, ir.IntType(32)), INTS)
    )


def _masked(builder: Builder, verb: str, stored: Any, arguments: list[Any]) -> Any:
    result = stored if verb == "load" else ir.VoidType()
    name = f"llvm.masked.{verb}.{NAMES[stored]}.p0"
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def _widen(builder: Builder, values: Any, stored: Any) -> Any:
    if stored is FLOATS:
        return values
    if stored is HALVES:
        return builder.fpext(values, FLOATS)
    if stored is BYTES:
        return builder.fsub(
            builder.uitofp(values, FLOATS), ir.Constant(FLOATS, [float(ZERO_POINT)] * LANES)
        )
    high = builder.shl(builder.zext(values, INTS), _ints(16))
    return builder.bitcast(high, FLOATS)


def _narrow(builder: Builder, values: Any, stored: Any) -> Any:
    if stored is FLOATS:
        return values
    if stored is HALVES:
        return builder.fptrunc(values, HALVES)
    if stored is BYTES:
        whole = builder.fadd(values, ir.Constant(FLOATS, [TO_WHOLE] * LANES))
        return builder.trunc(builder.bitcast(whole, INTS), BYTES)
    bits = builder.bitcast(values, INTS)
    odd = builder.and_(builder.lshr(bits, _ints(16)), _ints(1))
    rounded = builder.lshr(builder.add(builder.add(bits, _ints(0x7FFF)), odd), _ints(16))
    is_nan = builder.fcmp_unordered("uno", values, values)
    return builder.trunc(builder.select(is_nan, _ints(0x7FC0), rounded), SHORTS)


def _ints(value: int) -> Any:
    return ir.Constant(INTS, [value] * LANES)
