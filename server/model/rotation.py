"""RoPE put off until the keys are written: one kernel rotates, and writes keys and values.

A family's `apply_rotary_pos_emb` is a global of its module, which all its models share. Its
stand-in asks whose step runs in this thread, and calls the family's own function where it is
nobody's, or that of a model whose form is not proven.
"""

import inspect
import sys
import threading
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from weft.kernels import reference_rows

from .adapt import Swap
from .row_ops import RopeOp

if TYPE_CHECKING:
    from .attention import PagedAttention

NAME = "apply_rotary_pos_emb"
Pair: TypeAlias = tuple[Tensor, Tensor]
RotaryFunction: TypeAlias = Callable[..., Pair]

_running = threading.local()


class Rotary(Protocol):
    """What happens in a step where the family rotates, and where keys and values are written."""

    def rotate(
        self, own: RotaryFunction, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *more: object
    ) -> Pair:
        """What the modelling code gets for `own(q, k, cos, sin, …)`."""

    def write(
        self,
        q_1HTD: Tensor,
        k_1GTD: Tensor,
        v_1GTD: Tensor,
        cache_index_T: Tensor,
        k_PZGD: Tensor,
        v_PZGD: Tensor,
    ) -> bool:
        """Whether keys and values are in the cache now, and q is rotated."""

    def end(self) -> None:
        """Let go of the step's tensors."""


def run_under(rotary: Rotary | None) -> None:
    """Say whose step this thread runs from now on; None = nobody's, or nobody's that cares."""
    _running.rotary = rotary


class RopeForm(NamedTuple):
    """How a family rotates.

    Attributes:
        repeated: The cosine of angle e stands at 2e and 2e + 1; else at e and e + E.
    """

    interleaved: bool
    in_fp32: bool
    repeated: bool

    def angles(self, cos_1TD: Tensor) -> Tensor:
        """`[T, E]`."""
        cos_TD = cos_1TD[0]
        cos_TE = cos_TD[:, ::2] if self.repeated else cos_TD[:, : cos_TD.shape[1] // 2]
        return cos_TE.contiguous()


class Angles(NamedTuple):
    """The angles of a step's rows; `rows_T` counts them, for the kernel looks its angles up."""

    whole: Tensor  # held, so that no other tensor gets its id
    cos_TE: Tensor
    sin_TE: Tensor
    rows_T: Tensor


class Rotation:
    """Rotates by an op, where attention would write the keys."""

    def __init__(self, op: RopeOp, form: RopeForm) -> None:
        self._op = op
        self._form = form
        self._pending: Angles | None = None
        self._angles: dict[int, Angles] = {}

    def rotate(
        self, own: RotaryFunction, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *_: object
    ) -> Pair:
        if id(cos) not in self._angles:
            rows_T = torch.arange(cos.shape[1], device=cos.device)
            halves = self._form.angles(cos), self._form.angles(sin)
            self._angles[id(cos)] = Angles(cos, *halves, rows_T)
        self._pending = self._angles[id(cos)]
        return q, k

    def write(
        self,
        q_1HTD: Tensor,
        k_1GTD: Tensor,
        v_1GTD: Tensor,
        cache_index_T: Tensor,
        k_PZGD: Tensor,
        v_PZGD: Tensor,
    ) -> bool:
        if self._pending is None:
            return False
        angles, self._pending = self._pending, None
        self._op.run(
            *(heads[0].transpose(0, 1) for heads in (q_1HTD, k_1GTD, v_1GTD)),
            positions_T=angles.rows_T,
            cache_index_T=cache_index_T,
            cos_XE=angles.cos_TE,
            sin_XE=angles.sin_TE,
            k_cache_PZGD=k_PZGD,
            v_cache_PZGD=v_PZGD,
            interleaved=self._form.interleaved,
            in_fp32=self._form.in_fp32,
        )
        return True

    def end(self) -> None:
        self._pending = None
        self._angles.clear()


class RotaryCall(NamedTuple):
    """One call of a family's function, and its result."""

    q: Tensor
    k: Tensor
    cos: Tensor
    sin: Tensor
    result: Pair

    def has(self, form: RopeForm) -> bool:
        """Whether the form gives these very bits."""
        num_rows = self.q.shape[-2]
        if self.cos.shape[:-1] != (1, num_rows) or self.q.dim() != 4:
            return False
        cos_TE, sin_TE = (form.angles(angles) for angles in (self.cos, self.sin))
        if form.in_fp32:
            cos_TE, sin_TE = cos_TE.float(), sin_TE.float()
        return all(
            turned.dtype == x.dtype
            and torch.equal(
                reference_rows.rotate(
                    x[0].transpose(0, 1).contiguous(),
                    cos_TE,
                    sin_TE,
                    interleaved=form.interleaved,
                ),
                turned[0].transpose(0, 1),
            )
            for x, turned in zip((self.q, self.k), self.result, strict=True)
        )


class RotaryRecorder:
    """Lets the family rotate, and notes whether attention gets its very results."""

    def __init__(self) -> None:
        self.calls: list[RotaryCall] = []
        self.num_taken = 0

    def rotate(
        self, own: RotaryFunction, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *more: object
    ) -> Pair:
        result = own(q, k, cos, sin, *more)
        self.calls.append(RotaryCall(q, k, cos, sin, result))
        return result

    def write(self, q_1HTD: Tensor, k_1GTD: Tensor, *_: Tensor) -> bool:
        if self.calls:
            q, k = self.calls[-1].result
            self.num_taken += q is q_1HTD and k is k_1GTD
        return False

    def end(self) -> None:
        pass

    def form(self, op: RopeOp) -> RopeForm | None:
        """The form of all calls that the op takes, if attention got their very results."""
        if not self.calls or self.num_taken != len(self.calls):
            return None
        forms = (
            RopeForm(*flags)
            for flags in product((False, True), repeat=3)
            if op.interleaved or not flags[0]
        )
        return next((f for f in forms if all(call.has(f) for call in self.calls)), None)


class StandIn:
    """Stands where a family's function stood, for all models of the family and for ever."""

    def __init__(self, own: RotaryFunction) -> None:
        self._own = own

    def __call__(
        self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *more: object, **named: object
    ) -> Pair:
        rotary: Rotary | None = getattr(_running, "rotary", None)
        own = partial(self._own, **named) if named else self._own
        if rotary is None:
            return own(q, k, cos, sin, *more)
        return rotary.rotate(own, q, k, cos, sin, *more)


def install_stand_ins(model: nn.Module) -> None:
    """Put one in every module of the modelling code that has such a function."""
    for name in {type(module).__module__ for module in model.modules()}:
        names = vars(sys.modules[name])
        own = names.get(NAME)
        if own is None or isinstance(own, StandIn):
            continue
        if list(inspect.signature(own).parameters)[:4] == ["q", "k", "cos", "sin"]:
            names[NAME] = StandIn(own)


def rope_swap(
    model: nn.Module, op: RopeOp, attention: "PagedAttention", run: Callable[[], object]
) -> Swap:
    """Rotate by `op` where the family's function has one of its forms.

    Args:
        run: Runs a step of the model.
    """
    install_stand_ins(model)
    recorder = RotaryRecorder()
    attention.rotary = recorder
    run()
    attention.rotary = None
    form, count = recorder.form(op), len(recorder.calls)

    def make() -> None:
        assert form is not None
        attention.rotary = Rotation(op, form)

    def undo() -> None:
        attention.rotary = None

    return Swap("rope", count if form else 0, 0 if form else count, make, undo)
