"""The peers that a suite names: opened on the bed's base and adapters, if they are there."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedModel

from .bed import Bed
from .errors import PeerMissing
from .options import EngineOptions
from .peers import hf_peft, openai, vllm_cpu
from .peers.peer import WEFT_GRPC, Peer
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
            peers[name] = _open(name, bed, folder, num_together, stack)
        except PeerMissing:
            missing.append(Gap(name, "", "not installed"))
    return Rivals(peers, missing)


def _open(name: str, bed: Bed, folder: Path, num_together: int, stack: ExitStack) -> Peer:
    options: EngineOptions = bed.options
    if name == hf_peft.NAME:
        return hf_peft.HfPeft(_build(bed), bed.loras)
    if name == openai.NAME and options.openai is not None:
        return openai.OpenAi(options.openai.url, options.openai.model, bed.loras)
    if name == WEFT_GRPC and options.weft_address is not None:
        from .peers.weft_grpc import WeftGrpc  # not everywhere is gRPC

        return stack.enter_context(closing(WeftGrpc(options.weft_address, bed.loras)))
    if name == vllm_cpu.NAME and options.vllm_python is not None:
        return stack.enter_context(
            closing(_open_vllm(bed, options.vllm_python, folder, num_together))
        )
    raise PeerMissing(f"{name}: not installed")


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


def _open_vllm(bed: Bed, python: Path, folder: Path, num_together: int) -> vllm_cpu.VllmCpu:
    options: EngineOptions = bed.options
    model = folder / "base"
    _build(bed).save_pretrained(model)
    return vllm_cpu.VllmCpu(
        python,
        model,
        bed.loras,
        dtype=options.dtype,
        batch=options.batch,
        num_together=num_together,
        max_context=options.prompt_tokens + options.new_tokens,
        threads=options.threads,
        log=folder / "vllm.log",
    )
