"""A job's adapter on the worker's own copy of the base, as the engine would run it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from weft.adapters.image import read_image
from weft.adapters.probe import ProbeResult, SiteCapture, check_probe, probe_tokens
from weft.adapters.sites import BaseFacts
from weft.adapters.weights import CheckedAdapter
from weft.kernels import Arena, group_rows

from .model.batch import ModelBatch
from .model.kv_cache import KVCache
from .model.load_probe import pack_step
from .model.loader import LoadedModel


def probe_image(
    model: LoadedModel, facts: BaseFacts, adapter: CheckedAdapter, image: Path
) -> ProbeResult:
    """Run the probe's tokens through the base and through the adapter's image, and judge them.

    Raises:
        Refused: The image differs from the checked tensors, has no effect, or is not finite.
    """
    batch, cache = make_batch(model, probe_tokens(facts.vocab_size))
    arena = load_arena(model, facts, image)
    assert batch.segments is not None
    captures = [
        SiteCapture(name, x_TK.cpu(), model.site_delta(name, x_TK, arena, batch.segments).cpu())
        for name, x_TK in model.capture_sites(batch, cache).items()
    ]
    return check_probe(
        adapter,
        facts,
        captures,
        base_logits_TV=model.forward(batch, cache, None).cpu(),
        adapted_logits_TV=model.forward(batch, cache, arena).cpu(),
    )


def make_batch(model: LoadedModel, tokens: tuple[int, ...]) -> tuple[ModelBatch, KVCache]:
    """One sequence in one step, every row of it in slot 0."""
    num_rows = len(tokens)
    table_BM = torch.zeros(1, 1, dtype=torch.int32, device=model.device)
    ids_T = torch.tensor(tokens, device=model.device)
    batch = pack_step([ids_T], {0: (0, num_rows)}, table_BM, num_rows)
    segments = group_rows(np.zeros(num_rows, dtype=np.int32)).to(model.device)
    cache = KVCache(
        model.layers,
        num_blocks=1,
        block_tokens=num_rows,
        dtype=model.dtype,
        device=model.device,
    )
    return replace(batch, segments=segments), cache


def load_arena(model: LoadedModel, facts: BaseFacts, path: Path) -> Arena:
    """An arena of one slot that holds the image."""
    image = read_image(path, facts)
    arena = Arena(
        image.num_elements,
        num_slots=1,
        num_slices=facts.num_slices,
        dtype=model.dtype,
        device=model.device,
        max_rank=int(image.rank.max()),
    )
    arena.data.copy_(image.data)
    arena.write_row(0, image.a_at, image.b_at, image.rank)
    return arena
