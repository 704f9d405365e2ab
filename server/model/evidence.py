"""What a probe judges an adapter by: its logits and the base's, and every site by itself."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from weft.adapters.probe import SiteCapture, probe_tokens
from weft.kernels import Arena

from .loader import LoadedModel


class Evidence(NamedTuple):
    """What was computed for one adapter, on the host."""

    captures: Sequence[SiteCapture]
    base_logits_TV: Tensor
    adapted_logits_TV: Tensor


def collect_evidence(model: LoadedModel, arena: Arena, slot: int) -> Evidence:
    """Run the probe's tokens through the base, through the adapter in `slot`, and site by site."""
    tokens_T = torch.tensor(probe_tokens(model.facts.vocab_size), device=model.device)
    batch, cache = model.whole_step(tokens_T, slot=slot)
    segments = batch.segments
    assert segments is not None
    captures = [
        SiteCapture(name, x_TK.cpu(), model.site_delta(name, x_TK, arena, segments).cpu())
        for name, x_TK in model.capture_sites(batch, cache).items()
    ]
    return Evidence(
        captures,
        base_logits_TV=model.forward(batch, cache, None).cpu(),
        adapted_logits_TV=model.forward(batch, cache, arena).cpu(),
    )
