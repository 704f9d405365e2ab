"""What is changed in a loaded model, how each change is undone, and what is reported of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from weft.adapters.sites import BaseFacts
from weft.kernels import Site
from weft.server.errors import ModelRefused

from .facts import SIBLING_NAMES, output_linear
from .lora_linear import PackedHead, SiteLinear, SiteStep, Tap
from .product import can_pack


@dataclass(frozen=True, slots=True)
class SwapReport:
    """How many swaps of one kind were made, skipped as not applicable, and undone."""

    kind: str
    made: int
    skipped: int
    undone: int


@dataclass(frozen=True, slots=True)
class Swap:
    """Changes of one kind that are made, and undone, together."""

    kind: str
    count: int
    skipped: int
    make: Callable[[], None]
    undo: Callable[[], None]

    def skip(self) -> SwapReport:
        """The report when it is not made."""
        return SwapReport(self.kind, made=0, skipped=self.skipped + self.count, undone=0)


def merge_swap(sites: Sequence[SiteLinear]) -> Swap:
    """Run every site as one product."""

    several = [site for site in sites if len(site.linears) > 1]
    single = [site.name.rpartition(".")[2] for site in sites if len(site.linears) == 1]
    skipped = sum(name in SIBLING_NAMES for name in single)

    def make() -> None:
        for site in several:
            site.merge()

    def undo() -> None:
        for site in several:
            site.separate()

    return Swap("merged_linear", len(several), skipped, make, undo)


def pack_swap(model: PreTrainedModel, sites: Sequence[SiteLinear]) -> Swap:
    """Keep the weights of the sites and of the output embeddings in oneDNN's layout, on a CPU."""

    def make() -> None:
        for site in sites:
            site.pack()
        pack_head(model)

    def undo() -> None:
        unpack_head(model)
        for site in sites:
            site.unpack()

    count = len(sites) + 1
    able = can_pack(model.dtype, model.device)
    return Swap("packed_linear", count if able else 0, 0 if able else count, make, undo)


def kernel_sites(facts: BaseFacts) -> dict[str, Site]:
    """Each site as the kernels know it: by its columns of the offset table."""
    widths = [tuple(member.out_features for member in site.members) for site in facts.sites]
    firsts = accumulate(map(len, widths), initial=0)
    return {
        site.name: Site(site.in_features, width, first)
        for site, width, first in zip(facts.sites, widths, firsts, strict=False)
    }


def install_sites(model: PreTrainedModel, facts: BaseFacts, step: SiteStep) -> list[SiteLinear]:
    """Replace the members of every site by taps; the products stay apart until `merge`.

    Raises:
        ModelRefused: The model is not the one that the facts describe.
    """
    columns = kernel_sites(facts)
    sites = []
    for entry in facts.sites:
        linears = [_linear(model, member.name) for member in entry.members]
        found = [(linear.in_features, linear.out_features) for linear in linears]
        expected = [(entry.in_features, member.out_features) for member in entry.members]
        if found != expected:
            raise ModelRefused(f"site {entry.name} has shapes {found}, the facts say {expected}")
        site = SiteLinear(entry.name, columns[entry.name], linears, step)
        for place, member in enumerate(entry.members):
            model.set_submodule(member.name, Tap(site, place))
        sites.append(site)
    return sites


def remove_sites(model: PreTrainedModel, facts: BaseFacts, sites: Sequence[SiteLinear]) -> None:
    """Undo `install_sites`: the very Linears come back, with the very values."""
    for entry, site in zip(facts.sites, sites, strict=True):
        site.separate()
        for member, linear in zip(entry.members, site.linears, strict=True):
            model.set_submodule(member.name, linear)


def pack_head(model: PreTrainedModel) -> None:
    """Pack the output embeddings; the plain weight stays where the input embeddings are tied."""
    head = output_linear(model)
    tied = model.get_input_embeddings().weight is head.weight
    model.set_submodule(_path(model, head), PackedHead(head, tied=tied))


def unpack_head(model: PreTrainedModel) -> None:
    """Undo `pack_head`."""
    head = model.get_output_embeddings()
    assert isinstance(head, PackedHead)
    head.product.unpack()
    model.set_submodule(_path(model, head), head.linear)


def fix_longrope(model: PreTrainedModel, max_context: int) -> None:
    """Give LongRoPE one table for all steps: the short factors, or the long ones.

    Stock code chooses by the longest row of a step, so one long sequence would change the others.
    The long factors are taken when `max_context` exceeds the length of the pretraining.

    Raises:
        ModelRefused: A RoPE module whose table cannot be fixed like that.
    """
    for name, module in model.named_modules():
        if getattr(module, "rope_type", None) != "longrope":
            continue
        parameters = module.config.rope_parameters
        trained = int(parameters["original_max_position_embeddings"])
        length = trained + 1 if max_context > trained else None
        inv_freq, _ = ROPE_INIT_FUNCTIONS["longrope"](module.config, model.device, seq_len=length)
        module.inv_freq = inv_freq
        module.rope_type = "default"
        _check_fixed(name, module, max_context, model.device)


def _check_fixed(name: str, rope: nn.Module, max_context: int, device: torch.device) -> None:
    x = torch.zeros(1, device=device)
    short = torch.arange(4, device=device)
    long = torch.cat([short, torch.tensor([max_context - 1], device=device)])
    alone: tuple[Tensor, Tensor] = rope(x, short[None])
    beside: tuple[Tensor, Tensor] = rope(x, long[None])
    if not all(torch.equal(a, b[:, :4]) for a, b in zip(alone, beside, strict=True)):
        raise ModelRefused(
            f"gate 1 (config): rope_type longrope of {name} ({type(rope).__name__}) depends on the "
            "longest sequence of a step"
        )


def _linear(model: PreTrainedModel, name: str) -> nn.Linear:
    module = model.get_submodule(name)
    if type(module) is not nn.Linear:
        raise ModelRefused(f"{name} is a {type(module).__name__}, the facts say Linear")
    return module


def _path(model: PreTrainedModel, module: nn.Module) -> str:
    paths: dict[nn.Module, str] = {found: path for path, found in model.named_modules()}
    return paths[module]
