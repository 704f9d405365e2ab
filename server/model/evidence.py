"""What a probe judges an adapter by: its logits and the base's, and every site by itself."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from weft.adapters.probe import SiteCapture, probe_tokens
from weft.kernels import Arena, group_rows

from .kv_cache import KVCache
from .load_probe import pack_step
from .loader import LoadedModel


class Evidence(NamedTuple):
    """What was computed for one adapter, on the host."""

    captures: Sequence[SiteCapture]
    base_logits_TV: Tensor
    adapted_logits_TV: Tensor


def collect_evidence(model: LoadedModel, arena: Arena, slot: int) -> Evidence:
    """Run the probe's tokens through the base, through the adapter in `slot`, and site by site."""
    tokens_T = torch.tensor(probe_tokens(model.facts.vocab_size), device=model.device)
    num_rows = len(tokens_T)
    cache = KVCache(
        model.layers,
        num_blocks=1,
        block_tokens=num_rows,
        dtype=model.dtype,
        device=model.device,
    )
    table_BM = torch.zeros(1, 1, dtype=torch.int32, device=model.device)
    segments = group_rows(np.full(num_rows, slot, dtype=np.int32)).to(model.device)
    batch = replace(
        pack_step([tokens_T], {0: (0, num_rows)}, table_BM, num_rows), segments=segments
    )
    captures = [
        SiteCapture(name, x_TK.cpu(), model.site_delta(name, x_TK, arena, segments).cpu())
        for name, x_TK in model.capture_sites(batch, cache).items()
    ]
    return Evidence(
        captures,
        base_logits_TV=model.forward(batch, cache, None).cpu(),
        adapted_logits_TV=model.forward(batch, cache, arena).cpu(),
    )
