"""Checkpoints: everything that a run needs to go on bit for bit, in one folder.

The adapter is in PEFT's layout, the optimizer's moments are float32 under the same names, and the
rest is JSON. Random states are not stored: every stream is derived from the seed and the step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import ContentCorrupt
from .lora import CONFIG_FILE, WEIGHTS_FILE, save_adapter

OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
FILES = (CONFIG_FILE, WEIGHTS_FILE, OPTIMIZER_FILE, STATE_FILE)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A written checkpoint; `digest` is `sha256:…` over the digests of its files."""

    path: Path
    step: int
    digest: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a checkpoint holds.

    Attributes:
        plan: Digest of the plan (options, seed, examples) that the run follows.
        tensors, first_moments, second_moments: By the names in PEFT's file.
        losses: One per step so far, in nats per trained token.
        eval_losses: Step and loss of every evaluation so far.
    """

    step: int
    plan: str
    tensors: Mapping[str, Tensor]
    first_moments: Mapping[str, Tensor]
    second_moments: Mapping[str, Tensor]
    losses: tuple[float, ...]
    eval_losses: tuple[tuple[int, float], ...]


def write_checkpoint(
    folder: Path, snapshot: Snapshot, config: LoraConfig, *, base_digest: str
) -> Checkpoint:
    """Write into a new folder, sync, rename: a checkpoint is whole or not there."""
    final = folder / f"step-{snapshot.step:08d}"
    draft = folder / f".{final.name}.{os.getpid()}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_adapter(draft, config, snapshot.tensors, base_digest=base_digest)
    moments = {f"first.{name}": t for name, t in snapshot.first_moments.items()}
    moments |= {f"second.{name}": t for name, t in snapshot.second_moments.items()}
    save_file({name: t.cpu().contiguous() for name, t in moments.items()}, draft / OPTIMIZER_FILE)
    state = {
        "step": snapshot.step,
        "plan": snapshot.plan,
        "losses": [loss.hex() for loss in snapshot.losses],
        "eval_losses": [[step, loss.hex()] for step, loss in snapshot.eval_losses],
    }
    (draft / STATE_FILE).write_text(json.dumps(state))
    for name in FILES:
        sync(draft / name)
    shutil.rmtree(final, ignore_errors=True)
    draft.rename(final)
    sync(folder)
    return Checkpoint(final, snapshot.step, hash_checkpoint(final))


def read_checkpoint(path: Path, *, digest: str) -> Snapshot:
    """Read a checkpoint back.

    Raises:
        ContentCorrupt: A file is missing, or the files are not those of `digest`.
    """
    found = hash_checkpoint(path)
    if found != digest:
        message = f"checkpoint {path.name} is {found}, recorded as {digest}"
        raise ContentCorrupt(message, digest=digest)
    state = json.loads((path / STATE_FILE).read_text())
    moments = load_file(path / OPTIMIZER_FILE)
    return Snapshot(
        step=state["step"],
        plan=state["plan"],
        tensors=load_file(path / WEIGHTS_FILE),
        first_moments=take_prefix(moments, "first."),
        second_moments=take_prefix(moments, "second."),
        losses=tuple(map(float.fromhex, state["losses"])),
        eval_losses=tuple((step, float.fromhex(loss)) for step, loss in state["eval_losses"]),
    )


def find_newest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a run, None when it has none."""
    paths = sorted(folder.glob("step-*"))
    if not paths:
        return None
    step = int(paths[-1].name.removeprefix("step-"))
    return Checkpoint(paths[-1], step, hash_checkpoint(paths[-1]))


def take_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def hash_checkpoint(path: Path) -> str:
    """Digest of a checkpoint's files, by name.

    Raises:
        ContentCorrupt: One of them is missing.
    """
    whole = hashlib.sha256()
    for name in FILES:
        try:
            content = (path / name).read_bytes()
        except FileNotFoundError as err:
            raise ContentCorrupt(f"checkpoint {path.name} lacks {name}") from err
        whole.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return f"sha256:{whole.hexdigest()}"


def sync(path: Path) -> None:
    """Force a file or a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
