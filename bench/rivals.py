"""The peers that a suite names: opened on the bed's base and adapters, if they are there."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from .bed import Bed
from .errors import PeerMissing
from .options import EngineOptions
from .peers import hf_peft, vllm_cpu
from .peers.peer import Peer
from .random_model import build_model
from .record import Gap


class Rivals(NamedTuple):
    """Who is there, by name, and who is not."""

    peers: dict[str, Peer]
    missing: Sequence[Gap]


def open_rivals(bed: Bed, folder: Path, *, num_together: int, stack: ExitStack) -> Rivals:
    """Open the peers that the options name; `stack` closes them.

    Args:
        folder: For what a peer wants to read from disk.
        num_together: Adapters that run in one step.

    Raises:
        PeerFailed: A peer's process does not start.
    """
    peers: dict[str, Peer] = {}
    missing = []
    for name in bed.options.peers:
        try:
            if name == hf_peft.NAME:
                peers[name] = hf_peft.HfPeft(_build(bed), bed.loras)
            else:
                peers[name] = _open_vllm(bed, folder, num_together, stack)
        except PeerMissing:
            missing.append(Gap(name, "", "not installed"))
    return Rivals(peers, missing)


def _build(bed: Bed) -> PreTrainedModel:
    """The bed's base again, as transformers builds it."""
    options = bed.options
    return build_model(
        options.shape,
        seed=options.seed,
        device=bed.model.device,
        dtype=bed.model.dtype,
        attention="sdpa",
    )


def _open_vllm(bed: Bed, folder: Path, num_together: int, stack: ExitStack) -> vllm_cpu.VllmCpu:
    options: EngineOptions = bed.options
    if options.vllm_python is None:
        raise PeerMissing(f"{vllm_cpu.NAME}: not installed")
    model = folder / "base"
    _build(bed).save_pretrained(model)
    peer = vllm_cpu.VllmCpu(
        options.vllm_python,
        model,
        bed.loras,
        dtype=options.dtype,
        batch=options.batch,
        num_together=num_together,
        max_context=options.prompt_tokens + options.new_tokens,
        threads=options.threads,
        log=folder / "vllm.log",
    )
    return stack.enter_context(closing(peer))
