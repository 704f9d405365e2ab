"""Segmented LoRA, paged attention and row ops: Triton kernels, their definitions, the CPU path.

A tensor's name carries its shape, one letter per dimension:

    T  tokens (rows) in the step     B  sequences           S  segments        C  slots
    R  rank                          K  in-features         N  out-features    J  slices
    H  query heads                   G  KV heads            D  head size       L  layers
    V  vocabulary                    P  KV blocks           Z  tokens per KV block
    M  blocks per row of a block table                      X  positions of a table
    E  rotated pairs of a head

so `x_TK`, `a_RK`, `b_RN`, `y_TN`. In Triton kernels a prefix says what a name is: `i_` program
index, `o_` offsets, `m_` mask, `p_` pointers, `b_` values in registers.
"""

from .arena import ALIGNMENT_BYTES, Arena
from .segments import Segments, Span, group_rows
from .table import Half, OffsetTable, Site

__all__ = [
    "ALIGNMENT_BYTES",
    "Arena",
    "Half",
    "OffsetTable",
    "Segments",
    "Site",
    "Span",
    "group_rows",
]
