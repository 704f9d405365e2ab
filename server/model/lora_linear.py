"""The Linears of one site as one product, to which each row's adapter is added once.

Every member is replaced by a tap. The first tap that is called runs the site; a tap that is called
with the very same tensor hands out its slice of that output. When all slices are taken, input and
output are let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from weft.kernels import Arena, Segments, Site

from .product import Merged, Packed, Product, QuantisedProduct, Separate


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
    """One site: the base product of its Linears, then the adapters of the step's rows."""

    def __init__(self, name: str, site: Site, linears: Sequence[nn.Linear], step: SiteStep) -> None:
        self.name = name
        self.linears = tuple(linears)
        self._site = site
        self._widths = list(site.out_features)
        self._step = step
        self._product: Product = self._apart()
        self._input: Tensor | None = None
        self._slices: list[Tensor | None] = []

    def merge(self) -> None:
        """Run the members as one product."""
        self._product = Merged(self.linears)

    def pack(self) -> None:
        """Run the merged product on a packed weight; the plain one is freed."""
        assert isinstance(self._product, Merged)
        self._product = Packed(self._product, keep=False)

    def unpack(self) -> None:
        """Undo `pack`."""
        assert isinstance(self._product, Packed)
        self._product.unpack()
        self.merge()

    def quantise(self, product: type[QuantisedProduct]) -> None:
        """Run all members as one product on quantised weights, for good: the plain ones are freed.

        Adapters are added to what it yields, from the input as it came.
        """
        assert not isinstance(self._product, Packed)
        self._product = product(self.linears)

    def separate(self) -> None:
        """Undo `pack` and `merge`; adapters are still added once for all members."""
        if isinstance(self._product, Packed):
            self._product.unpack()
        self._product = self._apart()

    def take(self, place: int, x: Tensor) -> Tensor:
        """The output of the member at `place` for `x`, `[…, K]`."""
        if x is not self._input or self._slices[place] is None:
            self._slices = self._split(self.whole(x))
            self._input = x
        taken = self._slices[place]
        assert taken is not None
        self._slices[place] = None
        if not any(piece is not None for piece in self._slices):
            self.drop()
        return taken

    def whole(self, x: Tensor) -> Tensor:
        """The outputs of all members side by side, `[…, N]`, for who wants no slices."""
        return self._run(x).view(*x.shape[:-1], -1)

    def drop(self) -> None:
        """Let go of a step's tensors, taken or not."""
        self._input, self._slices = None, []

    def _run(self, x: Tensor) -> Tensor:
        x_TK = x.reshape(-1, self._site.in_features)
        y_TN = self._product(x_TK)
        step = self._step
        if step.inputs is not None:
            step.inputs[self.name] = x_TK
        if step.arena is not None and step.segments is not None:
            assert step.segments.num_rows == len(x_TK)
            step.arena.add_lora(y_TN, x_TK, step.segments, self._site)
        return y_TN

    def _split(self, y: Tensor) -> list[Tensor | None]:
        if len(self._widths) == 1:
            return [y]
        pieces = torch.split(y, self._widths, dim=-1)
        # until a merge has passed its proof, an output lies in memory as its Linear's did
        apart = isinstance(self._product, Separate)
        return [piece.contiguous() for piece in pieces] if apart else list(pieces)

    def _apart(self) -> Product:
        return Merged(self.linears) if len(self.linears) == 1 else Separate(self.linears)


class Tap(nn.Module):
    """Stands where a Linear of a site stood."""

    def __init__(self, site: SiteLinear, place: int) -> None:
        super().__init__()
        self.linear = site.linears[place]
        self.site = site
        self.place = place

    def forward(self, x: Tensor) -> Tensor:
        return self.site.take(self.place, x)

    @property
    def weight(self) -> Tensor:
        """Modelling code reads it, for its dtype or device."""
        return self.linear.weight


class PackedHead(nn.Module):
    """Stands where the output embeddings stood; no site, so no adapter."""

    def __init__(self, linear: nn.Linear, *, tied: bool) -> None:
        super().__init__()
        self.linear = linear
        self.product = Packed(Merged([linear]), keep=tied)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        logits = self.product(rows) if len(rows) else x.new_empty(0, self.linear.out_features)
        return logits.view(*x.shape[:-1], logits.shape[-1])

    @property
    def weight(self) -> Tensor:
        """Modelling code reads it, for its dtype or device."""
        return self.linear.weight
