"""LoRA together with the base Linear beside which it runs: one after the other, or at once."""

from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from .errors import NotApplicable
from .floors import Work, linear_work, lora_work
from .lora_cells import CORE_SITES, SMALL_SITES, Batch, LoraCell
from .lora_contender import define_delta, draw_inputs
from .record import Value
from .stopwatch import do_nothing
from .trials import OURS, TOLERANCE, Case, Run, Trial, relative_error
from .weft_lora import load_arena

BASE_AND_LORA = "base_lora"
SIDE = f"{OURS} side"
"""shrink on a stream of its own, beside the base GEMM: it needs only x."""
NUM_LAUNCHES = 3
BATCHES = (Batch(32, "identical"), Batch(32), Batch(prefill_rows=512, prefill_adapters=1))


def fused_cells(*, small: bool) -> Iterator[LoraCell]:
    """Decode and prefill at every core site, or what an interpreter can run."""
    if small:
        yield LoraCell(next(iter(SMALL_SITES)), (4,), Batch(3))
        return
    for site, rank, batch in product(CORE_SITES, (16, 64), BATCHES):
        yield LoraCell(site, (rank,), batch)


def make_fused_case(cell: LoraCell, *, seed: int, device: torch.device, dtype: torch.dtype) -> Case:
    """Draw a cell's inputs and its base Linear; each way writes the same output."""
    inputs = draw_inputs(cell, seed=seed, device=device, dtype=dtype)
    loaded, x_TK = load_arena(inputs), inputs.x_TK
    shape = sum(cell.shape.out_features), cell.shape.in_features
    weight_NK = torch.empty(shape, dtype=dtype, device=device).normal_(std=shape[1] ** -0.5)
    y_TN = x_TK.new_empty(len(x_TK), shape[0])
    wanted_TN = x_TK.double() @ weight_NK.double().T + define_delta(inputs)

    def multiply() -> Tensor:
        return torch.mm(x_TK, weight_NK.T, out=y_TN)

    def one_by_one() -> None:
        multiply()
        loaded.expand(y_TN, loaded.shrink(x_TK))

    def at_once() -> Run:
        if device.type != "cuda":
            raise NotApplicable("a CPU has no streams")
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]

        def run() -> None:
            main = torch.cuda.current_stream()
            side.wait_stream(main)
            with torch.cuda.stream(side):
                v = loaded.shrink(x_TK)
            multiply()
            main.wait_stream(side)
            v.record_stream(main)
            loaded.expand(y_TN, v)

        return run

    def error_of(run: Run) -> float:
        y_TN.fill_(torch.nan)
        run()
        return relative_error(y_TN, wanted_TN)

    work = _work(cell, seed=seed, element_bytes=dtype.itemsize)

    def trial(prepare: Callable[[], Run]) -> Trial:
        return Trial(prepare(), do_nothing, error_of, work, num_launches=NUM_LAUNCHES)

    parameters: dict[str, Value] = {"op": BASE_AND_LORA, "site": cell.site, "rows": len(x_TK)}
    makers = {OURS: lambda: trial(lambda: one_by_one), SIDE: lambda: trial(at_once)}
    return Case(case_name(cell), parameters, TOLERANCE[dtype], makers)


def case_name(cell: LoraCell) -> str:
    return f"base + {cell}"


def _work(cell: LoraCell, *, seed: int, element_bytes: int) -> Work:
    """The base Linear's, and the adapters: x and y are read and written once for both."""
    base = linear_work(cell.shape, cell.batch.num_rows, element_bytes=element_bytes)
    adapters = lora_work(cell.shape, cell.draw_ranks(seed), ranks_T=(), element_bytes=element_bytes)
    return Work(
        num_bytes=base.num_bytes + adapters.num_bytes,
        flops=base.flops + cell.work(seed, element_bytes=element_bytes).flops,
    )
