"""Compiled loops on torch's own OpenMP threads.

A pool of other threads, numba's own among them, would fight torch's for the cores: its workers spin
between two products. So a loop is entered through the runtime that torch has loaded, whichever it
is: all of them answer to GNU's names.
"""

import ctypes
from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

_OPENMP = ctypes.CDLL(None)  # what the process has loaded, torch's runtime first

thread_num = _OPENMP.omp_get_thread_num  # callable in compiled code
thread_num.argtypes, thread_num.restype = (), ctypes.c_int

num_threads = _OPENMP.omp_get_num_threads  # callable in compiled code; may be fewer than torch's
num_threads.argtypes, num_threads.restype = (), ctypes.c_int

barrier = _OPENMP.GOMP_barrier  # callable in compiled code; every thread must come to it
barrier.argtypes, barrier.restype = (), None

_parallel = _OPENMP.GOMP_parallel
_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
_parallel.restype = None


@intrinsic
def pointer(_context: Any, _address: Any) -> Any:
    """The address as a pointer, for `numba.carray`; callable in compiled code."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.intp), generate


def compile_loop(body: Callable[[Any], None]) -> Any:
    """Compile a function of one pointer: to the arguments of `run_loop`, each an int64."""
    return cfunc(types.void(types.voidptr))(body)


def run_loop(loop: Any, *arguments: int) -> None:
    """Enter `loop` on every thread of torch's, and wait until all have left it."""
    frame = (ctypes.c_int64 * len(arguments))(*arguments)
    _parallel(loop.address, frame, torch.get_num_threads(), 0)


@njit
def share(i_thread, num_threads, cost):
    """Where a thread's part of the whole cost begins and ends."""
    return cost * i_thread // num_threads, cost * (i_thread + 1) // num_threads
