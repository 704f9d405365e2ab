"""rmsnorm, rope and the KV write, gated activation, e4m3 as cases, beside plain torch."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from weft.kernels import reference_rows
from weft.kernels.activation import glu
from weft.kernels.norm import add_rmsnorm, rmsnorm
from weft.kernels.quantise import E4M3, quantise_rows
from weft.kernels.reference_quantise import quantise_rows as define_quantised
from weft.kernels.rope import rope

from .floors import Work
from .record import Value
from .stopwatch import do_nothing
from .trials import OURS, TOLERANCE, Case, Run, Trial, relative_error, trial_of

TORCH = "torch"
EPS = 1e-5
BLOCK_TOKENS = 16
GROUPS = {"add_rmsnorm": "rmsnorm"}
"""Forms of one op."""


@dataclass(frozen=True, slots=True)
class RowShape:
    """A Llama's sizes as its row ops see them."""

    num_rows: int
    hidden: int
    intermediate: int
    num_heads: int
    num_kv_heads: int
    head_size: int


rotate = partial(reference_rows.rotate, interleaved=False)

ROWS = (1, 32, 128, 8192)
SMALL_ROWS = (3,)


def row_shapes(*, small: bool) -> Iterator[RowShape]:
    """Those of Llama-3.1-8B, or what an interpreter can run."""
    for rows in SMALL_ROWS if small else ROWS:
        yield RowShape(rows, 64, 48, 4, 2, 16) if small else RowShape(rows, 4096, 14336, 32, 8, 128)


class RowCases:
    """The cases of one shape; each draws its inputs when it is made."""

    def __init__(
        self, shape: RowShape, *, seed: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._shape = shape
        self._device, self._dtype, self._seed = device, dtype, seed

    def makers(self) -> Mapping[str, Callable[[], Case]]:
        """By op."""
        return {
            "rmsnorm": self._rmsnorm,
            "add_rmsnorm": self._add_rmsnorm,
            "rope": self._rope,
            "glu": self._glu,
            "quantise": self._quantise,
        }

    def name(self, op: str) -> str:
        width = self._shape.intermediate if op == "glu" else self._shape.hidden
        return f"{op} {self._shape.num_rows} x {width}"

    def _rmsnorm(self) -> Case:
        x_TK, weight_K = self._hidden(0), self._draw(self._shape.hidden, seed=1)
        wanted_TK = _normalise(x_TK.double(), weight_K)
        ours = partial(rmsnorm, x_TK, weight_K, eps=EPS, add_one=False, round_first=True)
        theirs = partial(F.rms_norm, x_TK, (self._shape.hidden,), weight_K, EPS)
        work = self._work(2 * x_TK.numel() + weight_K.numel())
        return self._case("rmsnorm", {OURS: ours, TORCH: theirs}, wanted_TK, work)

    def _add_rmsnorm(self) -> Case:
        x_TK, first_TK = self._hidden(0), self._hidden(1)
        weight_K = self._draw(self._shape.hidden, seed=2)
        residual_TK = first_TK.clone()
        wanted_TK = _normalise((first_TK + x_TK).double(), weight_K)

        def theirs() -> Tensor:
            return F.rms_norm(residual_TK.add_(x_TK), (self._shape.hidden,), weight_K, EPS)

        ours = partial(
            add_rmsnorm, x_TK, residual_TK, weight_K, eps=EPS, add_one=False, round_first=True
        )
        work = self._work(4 * x_TK.numel() + weight_K.numel())
        return self._case(
            "add_rmsnorm",
            {OURS: ours, TORCH: theirs},
            wanted_TK,
            work,
            reset=lambda: residual_TK.copy_(first_TK),
        )

    def _glu(self) -> Case:
        y_TN = self._draw(self._shape.num_rows, 2 * self._shape.intermediate, seed=0)
        gate_TK, up_TK = y_TN.chunk(2, dim=-1)
        wanted_TK = reference_rows.glu(y_TN.double(), activation="silu")
        ours = partial(glu, y_TN, activation="silu")
        work = self._work(y_TN.numel() * 3 // 2)
        return self._case(
            "glu", {OURS: ours, TORCH: lambda: F.silu(gate_TK) * up_TK}, wanted_TK, work
        )

    def _quantise(self) -> Case:
        """Rows of e4m3's own values: the interpreter does not round to it as a GPU does."""
        wanted_TK = define_quantised(self._hidden(0), E4M3)[0].double()
        x_TK = wanted_TK.to(self._dtype)
        q_TK, scale_T1 = define_quantised(x_TK, E4M3)
        work = Work(num_bytes=x_TK.nbytes + q_TK.nbytes + scale_T1.nbytes, flops=0)
        makers = {
            OURS: partial(_quantised_trial, partial(quantise_rows, x_TK), wanted_TK, work, 1),
            TORCH: partial(
                _quantised_trial, partial(define_quantised, x_TK, E4M3), wanted_TK, work, None
            ),
        }
        return self._made("quantise", makers)

    def _rope(self) -> Case:
        """Every row is one decode of a sequence of its own, at a place of its own."""
        shape, num_rows = self._shape, self._shape.num_rows
        heads = (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)
        first_THD, k_TGD, v_TGD = (
            self._draw(num_rows, num, shape.head_size, seed=i) for i, num in enumerate(heads)
        )
        angles_XE = self._draw(num_rows, shape.head_size // 2, seed=3)
        cos_XE, sin_XE = angles_XE.cos(), angles_XE.sin()
        draw = torch.Generator().manual_seed(self._seed)
        positions_T, places_T = (
            torch.randperm(num_rows, generator=draw).to(self._device) for _ in range(2)
        )
        num_blocks = -(-num_rows // BLOCK_TOKENS)
        k_cache, v_cache = (
            k_TGD.new_zeros(num_blocks, BLOCK_TOKENS, *k_TGD.shape[1:]) for _ in range(2)
        )
        q_THD = first_THD.clone()
        turned = [
            rotate(x.double(), cos_XE[positions_T].double(), sin_XE[positions_T].double())
            for x in (first_THD, k_TGD)
        ]
        wanted = torch.cat([*turned, v_TGD.double()], dim=1)

        def ours() -> None:
            rope(
                q_THD,
                k_TGD,
                v_TGD,
                positions_T=positions_T,
                cache_index_T=places_T,
                cos_XE=cos_XE,
                sin_XE=sin_XE,
                k_cache_PZGD=k_cache,
                v_cache_PZGD=v_cache,
                interleaved=False,
                in_fp32=False,
            )

        def theirs() -> None:
            cos_TE, sin_TE = cos_XE[positions_T], sin_XE[positions_T]
            q_THD.copy_(rotate(q_THD, cos_TE, sin_TE))
            k_cache.flatten(0, 1)[places_T] = rotate(k_TGD, cos_TE, sin_TE)
            v_cache.flatten(0, 1)[places_T] = v_TGD

        def reset() -> None:
            q_THD.copy_(first_THD)
            k_cache.zero_()
            v_cache.zero_()

        def error_of(run: Run) -> float:
            reset()
            run()
            written = [cache.flatten(0, 1)[places_T] for cache in (k_cache, v_cache)]
            return relative_error(torch.cat([q_THD, *written], dim=1), wanted)

        work = self._work(2 * (q_THD.numel() + k_TGD.numel() + v_TGD.numel()) + angles_XE.numel())

        makers = {
            OURS: partial(Trial, ours, reset, error_of, work, num_launches=1),
            TORCH: partial(Trial, theirs, reset, error_of, work),
        }
        return self._made("rope", makers)

    def _hidden(self, seed: int) -> Tensor:
        return self._draw(self._shape.num_rows, self._shape.hidden, seed=seed)

    def _draw(self, *shape: int, seed: int) -> Tensor:
        draw = torch.Generator(self._device).manual_seed(100 * self._seed + seed)
        return torch.randn(*shape, generator=draw, device=self._device).to(self._dtype)

    def _work(self, num_elements: int) -> Work:
        return Work(num_bytes=num_elements * self._dtype.itemsize, flops=0)

    def _case(
        self,
        op: str,
        ops: Mapping[str, Callable[[], Tensor]],
        wanted: Tensor,
        work: Work,
        *,
        reset: Run = do_nothing,
    ) -> Case:
        makers = {
            name: partial(trial_of, call, wanted, work, reset=reset) for name, call in ops.items()
        }
        return self._made(op, makers)

    def _made(self, op: str, makers: Mapping[str, Callable[[], Trial]]) -> Case:
        parameters: dict[str, Value] = {"op": GROUPS.get(op, op), "rows": self._shape.num_rows}
        return Case(self.name(op), parameters, TOLERANCE[self._dtype], makers)


def _quantised_trial(
    op: Callable[[], tuple[Tensor, Tensor]], wanted: Tensor, work: Work, num_launches: int | None
) -> Trial:
    kept = list(op())

    def run() -> None:
        kept[:] = op()

    def error_of(run: Run) -> float:
        kept[1].fill_(math.nan)
        run()
        q_TK, scale_T1 = kept
        return relative_error(q_TK.double() * scale_T1, wanted)

    return Trial(run, do_nothing, error_of, work, num_launches=num_launches)


def _normalise(x_TK: Tensor, weight_K: Tensor) -> Tensor:
    return x_TK * torch.rsqrt(x_TK.pow(2).mean(-1, keepdim=True) + EPS) * weight_K.double()
