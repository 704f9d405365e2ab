"""A cell of LoRA as a case: every contender adds its delta to the same output, in place."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from .floors import linear_work
from .lora_cells import LoraCell
from .lora_contender import LoraContender, LoraInputs, define_delta, draw_inputs
from .record import Value
from .trials import TOLERANCE, Case, Run, Trial, relative_error
from .weft_lora import WeftLora

LORA = "lora"
BASE_GEMM = "base gemm"
NUM_LAUNCHES = 2


def make_lora_case(
    cell: LoraCell,
    contenders: Sequence[LoraContender],
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Case:
    """Draw the cell's inputs, and lay out what contenders share: x, y and the base's weights."""
    inputs = draw_inputs(cell, seed=seed, device=device, dtype=dtype)
    board = _Board(inputs, seed=seed)
    work = cell.work(seed, element_bytes=dtype.itemsize)

    def make(contender: LoraContender) -> Trial:
        add_delta = contender.prepare(inputs)
        return Trial(
            run=partial(add_delta, board.y_TN),
            reset=board.reset,
            error_of=board.error_of,
            work=work,
            num_launches=NUM_LAUNCHES if isinstance(contender, WeftLora) else None,
        )

    def make_gemm() -> Trial:
        shape = sum(cell.shape.out_features), cell.shape.in_features
        weight_NK = torch.empty(shape, dtype=dtype, device=device).normal_(std=shape[1] ** -0.5)
        wanted_TN = inputs.x_TK.double() @ weight_NK.double().T
        return Trial(
            run=lambda: torch.mm(inputs.x_TK, weight_NK.T, out=board.y_TN),
            reset=board.reset,
            error_of=lambda run: _error_after(run, board.y_TN, wanted_TN),
            work=linear_work(cell.shape, len(inputs.x_TK), element_bytes=dtype.itemsize),
        )

    makers: dict[str, Callable[[], Trial]] = {
        contender.name: partial(make, contender) for contender in contenders
    }
    return Case(
        name=str(cell),
        parameters=_parameters(cell, inputs),
        tolerance=TOLERANCE[dtype],
        makers=makers | {BASE_GEMM: make_gemm},
    )


class _Board:
    """The output that contenders write to in turn, and what has to stand there afterwards."""

    def __init__(self, inputs: LoraInputs, *, seed: int) -> None:
        draw = torch.Generator(inputs.x_TK.device).manual_seed(seed + 1)
        self._delta_TN = define_delta(inputs)
        self._first_TN = torch.randn(self._delta_TN.shape, generator=draw, device=draw.device).to(
            inputs.x_TK.dtype
        )
        self.y_TN = self._first_TN.clone()

    def reset(self) -> None:
        self.y_TN.copy_(self._first_TN)

    def error_of(self, run: Run) -> float:
        """Of the delta alone, on zeros, so that no base hides it; and on a random output."""
        self.y_TN.zero_()
        alone = _error_after(run, self.y_TN, self._delta_TN)
        self.reset()
        return max(alone, _error_after(run, self.y_TN, self._first_TN + self._delta_TN))


def _error_after(run: Run, found: Tensor, wanted: Tensor) -> float:
    run()
    return relative_error(found, wanted)


def _parameters(cell: LoraCell, inputs: LoraInputs) -> dict[str, Value]:
    batch = cell.batch
    return {
        "op": LORA,
        "site": cell.site,
        "ranks": cell.rank_name,
        "decode_rows": batch.decode_rows,
        "prefill_rows": batch.prefill_rows,
        "popularity": batch.popularity,
        "base_share": batch.base_share,
        "distinct": inputs.num_slots,
        "is_core": cell.is_core,
    }
