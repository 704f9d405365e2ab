"""The base and the adapters of `weft bench cpu`, in folders, for a peer that is started by hand."""

from pathlib import Path

import torch

from .loras import write_loras
from .options import EngineOptions
from .random_model import build_model, describe, save_base

BASE, ADAPTERS = "base", "adapters"


def export_bed(options: EngineOptions, folder: Path) -> None:
    """Write what a suite with these options builds: `base`, and `adapters` by name.

    Raises:
        FileExistsError: The adapters are there already.
    """
    device = torch.device(options.device)
    model = build_model(
        options.shape,
        seed=options.seed,
        device=device,
        dtype=getattr(torch, options.dtype),
        attention="eager",
    )
    save_base(model, options.shape, folder / BASE)
    loras = write_loras(
        describe(model, options.shape, seed=options.seed),
        folder / ADAPTERS,
        num=options.num_adapters,
        ranks=options.ranks,
        seed=options.seed,
        device=device,
        keep_files=True,
    )
    for lora in loras:
        lora.image.unlink()
