"""Row ops of our own in place of transformers' modules, where a probe proves them the same.

What is proven bit for bit is the definition in plain torch, and what runs is its kernel; or, on a
CPU, the very op that runs. A module keeps its place and its weights: only its forward is another,
so undoing is to take that away.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weft.kernels import activation, reference_rows
from weft.kernels.activation import Activation

from .adapt import Swap
from .lora_linear import Tap
from .row_ops import NormOp

PROBE_ROWS = 64
SMALLEST, LARGEST = 1e-3, 30.0  # sizes of the rows: a wrong epsilon shows in small ones only

Forward: TypeAlias = Callable[[Tensor], Tensor]


class NormForm(NamedTuple):
    """What an op has to be told."""

    eps: float
    add_one: bool
    round_first: bool


class GatedMlp(NamedTuple):
    """An MLP, and what gives its gate and up side by side, `[…, 2K]`."""

    module: nn.Module
    gate_up: Forward
    down: Tap
    in_features: int


@torch.inference_mode()
def norm_swap(model: PreTrainedModel, op: NormOp) -> Swap:
    """Run every RMSNorm that rounds in one of four ways by `op`."""
    norms = [m for m in model.modules() if type(m).__name__.endswith("RMSNorm")]
    return _forward_swap("rmsnorm", norms, [_norm_forward(m, model.dtype, op) for m in norms])


@torch.inference_mode()
def glu_swap(model: PreTrainedModel) -> Swap:
    """Run every gated MLP whose activation is known by `kernels.activation`.

    The sites must be installed and not merged yet: a merged output's slices are views, whose
    activation torch rounds in another way.
    """
    mlps = list(find_gated(model))
    forwards = [_glu_forward(mlp, model.dtype) for mlp in mlps]
    return _forward_swap("glu", [mlp.module for mlp in mlps], forwards)


def prove_norm(module: nn.Module, dtype: torch.dtype, op: NormOp) -> NormForm | None:
    """The form that gives the module's very bits, if there is one."""
    weight = getattr(module, "weight", None)
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not isinstance(weight, Tensor) or weight.dim() != 1 or weight.dtype != dtype:
        return None
    if len(weight) % op.multiple or not isinstance(eps, float):
        return None
    if len(inspect.signature(module.forward).parameters) != 1:
        return None
    x_TK = _probe_rows(len(weight), dtype, weight.device)
    expected: Tensor = module(x_TK)
    for add_one, round_first in product((False, True), repeat=2):
        form = NormForm(eps, add_one, round_first)
        if torch.equal(op.proven(x_TK, weight, **form._asdict()), expected):
            return form
    return None


def find_gated(model: nn.Module) -> Iterator[GatedMlp]:
    """The MLPs with a `down_proj` behind `gate_proj` and `up_proj`, or behind `gate_up_proj`."""
    for module in model.modules():
        down, both, gate, up = (
            getattr(module, name, None)
            for name in ("down_proj", "gate_up_proj", "gate_proj", "up_proj")
        )
        if not isinstance(down, Tap):
            continue
        if isinstance(both, Tap):
            yield GatedMlp(module, both, down, both.linear.in_features)
        elif isinstance(gate, Tap) and isinstance(up, Tap) and gate.site is up.site:
            yield GatedMlp(module, gate.site.whole, down, gate.linear.in_features)


def prove_glu(mlp: GatedMlp, dtype: torch.dtype) -> Activation | None:
    """The activation that gives the MLP's very bits, if there is one."""
    x_TK = _probe_rows(mlp.in_features, dtype, mlp.down.weight.device)
    expected, y_TN = mlp.module(x_TK), mlp.gate_up(x_TK)
    names: tuple[Activation, ...] = get_args(Activation)
    for name in names:
        if torch.equal(mlp.down(reference_rows.glu(y_TN, activation=name)), expected):
            return name
    return None


def _norm_forward(module: nn.Module, dtype: torch.dtype, op: NormOp) -> Forward | None:
    form, weight_K = prove_norm(module, dtype, op), getattr(module, "weight", None)
    if form is None:
        return None
    assert isinstance(weight_K, Tensor)

    run = partial(op.run, **form._asdict())

    def forward(x: Tensor) -> Tensor:
        """Of `[T, K]`, or of one sequence, `[1, T, K]` or `[1, T, H, K]`."""
        return run(x, weight_K) if x.dim() == 2 else run(x.squeeze(0), weight_K).unsqueeze(0)

    return forward


def _glu_forward(mlp: GatedMlp, dtype: torch.dtype) -> Forward | None:
    name = prove_glu(mlp, dtype)
    if name is None:
        return None

    def forward(x: Tensor) -> Tensor:
        y = mlp.gate_up(x)
        x_TK = activation.glu(y.flatten(0, -2), activation=name)
        out: Tensor = mlp.down(x_TK.view(*y.shape[:-1], -1))
        return out

    return forward


def _forward_swap(
    kind: str, modules: Sequence[nn.Module], forwards: Sequence[Forward | None]
) -> Swap:
    pairs = zip(modules, forwards, strict=True)
    proven = [(vars(module), forward) for module, forward in pairs if forward is not None]

    def make() -> None:
        for attributes, forward in proven:
            attributes["forward"] = forward

    def undo() -> None:
        for attributes, _ in proven:
            del attributes["forward"]

    return Swap(kind, len(proven), len(modules) - len(proven), make, undo)


def _probe_rows(width: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`[PROBE_ROWS, width]`: seeded, each row of another size."""
    generator = torch.Generator().manual_seed(0)
    x_TK = torch.randn(PROBE_ROWS, width, generator=generator)
    sizes_T = torch.logspace(math.log10(SMALLEST), math.log10(LARGEST), PROBE_ROWS)
    return (x_TK * sizes_T[:, None]).to(device, dtype)
