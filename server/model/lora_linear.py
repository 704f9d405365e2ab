"""The Linears of one site as one product, to which each row's adapter is added once.

Every member is replaced by a tap. The first tap that is called runs the site; a tap that is called
with the very same tensor hands out its slice of that output. When all slices are taken, input and
output are let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from weft.kernels import Arena, Segments, Site


@dataclass(slots=True)
class SiteStep:
    """What all sites of a model share while a step runs; its owner sets and clears it.

    Attributes:
        inputs: Where each site leaves its input, `[T, K]`, by the site's name; None = nowhere.
    """

    arena: Arena | None = None
    segments: Segments | None = None
    inputs: dict[str, Tensor] | None = None


class SiteLinear:
    """One site: the base product of its Linears, then the adapters of the step's rows.

    Merged, the Linears keep views of the one weight, so that undoing costs nothing.
    """

    def __init__(self, name: str, site: Site, linears: Sequence[nn.Linear], step: SiteStep) -> None:
        self.name = name
        self.site = site
        self.linears = tuple(linears)
        self._widths = list(site.out_features)
        self._step = step
        self._merged: tuple[Tensor, Tensor | None] | None = None
        self._input: Tensor | None = None
        self._slices: list[Tensor | None] = []

    def merge(self) -> None:
        """Put the members' weights into one; they become views of it."""
        weights: list[Tensor] = [linear.weight for linear in self.linears]
        biases: list[Tensor] = [ln.bias for ln in self.linears if ln.bias is not None]
        self._merged = _merge_rows(weights), _merge_rows(biases) if biases else None

    def separate(self) -> None:
        """Run the members one by one again; adapters are still added once."""
        self._merged = None

    def take(self, place: int, x: Tensor) -> Tensor:
        """The output of the member at `place` for `x`, `[…, K]`."""
        if x is not self._input or self._slices[place] is None:
            self._slices = self._run(x)
            self._input = x
        taken = self._slices[place]
        assert taken is not None
        self._slices[place] = None
        if not any(piece is not None for piece in self._slices):
            self.drop()
        return taken

    def drop(self) -> None:
        """Let go of a step's tensors, taken or not."""
        self._input, self._slices = None, []

    def _run(self, x: Tensor) -> list[Tensor | None]:
        x_TK = x.reshape(-1, self.site.in_features)
        y_TN = self._product(x_TK)
        step = self._step
        if step.inputs is not None:
            step.inputs[self.name] = x_TK
        if step.arena is not None and step.segments is not None:
            assert step.segments.num_rows == len(x_TK)
            step.arena.add_lora(y_TN, x_TK, step.segments, self.site)
        if len(self.linears) == 1:
            return [y_TN.view(*x.shape[:-1], -1)]
        pieces = torch.split(y_TN.view(*x.shape[:-1], -1), self._widths, dim=-1)
        return list(pieces) if self._merged else [piece.contiguous() for piece in pieces]

    def _product(self, x_TK: Tensor) -> Tensor:
        if self._merged is not None:
            return F.linear(x_TK, *self._merged)
        outputs = [F.linear(x_TK, linear.weight, linear.bias) for linear in self.linears]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)


class Tap(nn.Module):
    """Stands where a Linear of a site stood."""

    def __init__(self, site: SiteLinear, place: int) -> None:
        super().__init__()
        self.linear = site.linears[place]
        self._site = site
        self._place = place

    def forward(self, x: Tensor) -> Tensor:
        return self._site.take(self._place, x)

    @property
    def weight(self) -> Tensor:
        """Modelling code reads it, for its dtype or device."""
        return self.linear.weight


def _merge_rows(parts: Sequence[Tensor]) -> Tensor:
    if len(parts) == 1:
        return parts[0].data
    merged = torch.cat([part.data for part in parts])
    rows = torch.split(merged, [len(part) for part in parts])
    for part, own in zip(parts, rows, strict=True):
        part.data = own
    return merged
