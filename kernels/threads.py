"""Compiled loops on torch's own OpenMP threads.

A pool of other threads, numba's own among them, would fight torch's for the cores: its workers spin
between two products. So a loop is entered through the runtime that torch has loaded, whichever it
is: all of them answer to GNU's names.
"""

import ctypes
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from llvmlite import ir
from llvmlite.binding import add_symbol
from numba import cfunc, config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.misc.appdirs import user_cache_dir

_OPENMP = ctypes.CDLL(None)  # what the process has loaded, torch's runtime first

_parallel = _OPENMP.GOMP_parallel
_parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
_parallel.restype = None


@intrinsic
def thread_num(_context: Any) -> Any:
    """The number of this thread in its team; callable in compiled code."""
    return types.int32(), _call("omp_get_thread_num", ir.IntType(32))


@intrinsic
def num_threads(_context: Any) -> Any:
    """The size of the team, which may be less than torch's; callable in compiled code."""
    return types.int32(), _call("omp_get_num_threads", ir.IntType(32))


@intrinsic
def barrier(_context: Any) -> Any:
    """Wait for the team: every thread must come to it; callable in compiled code."""
    return types.void(), _call("GOMP_barrier", ir.VoidType())


def _call(name: str, result: Any) -> Callable[..., Any]:
    """Call a function of the runtime by its name: an address would hold in this process only."""

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        kind = ir.FunctionType(result, [])
        value = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value() if isinstance(result, ir.VoidType) else value

    return generate


@intrinsic
def pointer(_context: Any, _address: Any) -> Any:
    """The address as a pointer, for `numba.carray`; callable in compiled code."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.intp), generate


def compile_loop(body: Callable[[Any], None]) -> Any:
    """Compile a function of one pointer: to the arguments of `run_loop`, each an int64.

    The code is kept in the user's cache, in a folder for these very sources, where that can be
    written: a loop takes seconds to compile.
    """
    for name in ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier"):
        add_symbol(name, ctypes.cast(getattr(_OPENMP, name), ctypes.c_void_p).value)
    folder = loops_folder(Path(__file__).parent)
    with _numba_cache(folder):
        return cfunc(types.void(types.voidptr), cache=_can_write(folder))(body)


def loops_folder(sources: Path) -> Path:
    """Where the loops of these sources are kept: numba itself looks at one file of them only."""
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources.glob("*.py"))))
    return Path(user_cache_dir("weft")) / "loops" / digest.hexdigest()[:16]


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


@contextmanager
def _numba_cache(folder: Path) -> Iterator[None]:
    before, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before


def run_loop(loop: Any, *arguments: int, alone: bool = False) -> ctypes.Array[ctypes.c_int64]:
    """Enter `loop` on every thread of torch's, and wait until all have left it.

    Args:
        alone: On this thread only, which wakes no other: for little work.

    Returns:
        The arguments as the loop left them.
    """
    frame = (ctypes.c_int64 * len(arguments))(*arguments)
    _parallel(loop.address, frame, 1 if alone else torch.get_num_threads(), 0)
    return frame


@njit
def share(i_thread, num_threads, cost):
    """Where a thread's part of the whole cost begins and ends."""
    return cost * i_thread // num_threads, cost * (i_thread + 1) // num_threads
