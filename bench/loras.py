"""Random adapters of a base: as PEFT's files, then through admission into images."""

import json
import shutil
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from weft.adapters.digest import digest_bytes
from weft.adapters.image import MAX_HEADER_BYTES, read_image, write_image
from weft.adapters.layout import serving_dtype
from weft.adapters.sites import BaseFacts, Member, Site
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import check_adapter

ALPHA = 16
STD = 0.02


@dataclass(frozen=True, slots=True)
class Lora:
    """One adapter of every Linear; `files` are gone unless they were to be kept.

    Attributes:
        num_elements: Of its image.
    """

    name: str
    rank: int
    digest: str
    files: Path
    image: Path
    num_elements: int


def write_loras(
    facts: BaseFacts,
    folder: Path,
    *,
    num: int,
    ranks: Sequence[int],
    seed: int,
    device: torch.device,
    keep_files: bool,
) -> tuple[Lora, ...]:
    """Write `num` adapters with these ranks in turn, A and B of N(0, 0.02), and pack them."""
    generator = torch.Generator(device).manual_seed(seed)
    return tuple(
        _write_lora(facts, folder / f"lora-{i}", rank, generator, keep_files=keep_files)
        for i, rank in enumerate(islice(cycle(ranks), num))
    )


def _write_lora(
    facts: BaseFacts, files: Path, rank: int, generator: torch.Generator, *, keep_files: bool
) -> Lora:
    config, weights = write_files(facts, files, rank, generator)
    limits = Limits(max_rank=rank, max_file_bytes=sys.maxsize, arena_bytes=sys.maxsize)
    checked = check_adapter(config, weights, facts, limits=limits)
    image = files.with_suffix(".image")
    write_image(checked, facts, image)
    del checked  # it maps the files
    if not keep_files:
        shutil.rmtree(files)
    packed = read_image(image, facts)
    return Lora(files.name, rank, packed.digest, files, image, packed.num_elements)


def clone_lora(lora: Lora, number: int) -> Lora:
    """Copy its image under another digest: an adapter of its own, of the same values."""
    digest = digest_bytes(f"{lora.digest} {number}".encode())
    image = lora.image.with_stem(f"{lora.image.stem}-{number}")
    shutil.copyfile(lora.image, image)
    with image.open("r+b") as file:
        at = file.read(MAX_HEADER_BYTES).index(lora.digest.encode())
        file.seek(at)
        file.write(digest.encode())
    return replace(lora, name=f"{lora.name}-{number}", digest=digest, image=image)


def write_files(
    facts: BaseFacts,
    files: Path,
    rank: int,
    generator: torch.Generator,
    *,
    targets: Collection[str] | None = None,
    std: float = STD,
) -> tuple[Path, Path]:
    """Write PEFT's config and weights into a new folder.

    Args:
        targets: Linears by the last part of their path; None = all.
    """
    files.mkdir(parents=True)
    members = {
        name: place
        for name, place in facts.members.items()
        if targets is None or name.rpartition(".")[2] in targets
    }
    config, weights = files / "adapter_config.json", files / "adapter_model.safetensors"
    config.write_text(json.dumps(_config(facts, rank, members)))
    save_file(_tensors(facts, rank, members, generator, std), weights)
    return config, weights


def _config(facts: BaseFacts, rank: int, members: Iterable[str]) -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": facts.name,
        "r": rank,
        "lora_alpha": ALPHA,
        "target_modules": sorted({name.rpartition(".")[2] for name in members}),
    }


def _tensors(
    facts: BaseFacts,
    rank: int,
    members: Mapping[str, tuple[Site, Member]],
    generator: torch.Generator,
    std: float,
) -> dict[str, Tensor]:
    dtype = serving_dtype(facts)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, device=generator.device)
        return (std * values).to(dtype).cpu()

    tensors = {}
    for name, (site, member) in members.items():
        key = f"base_model.model.{name}"
        tensors[f"{key}.lora_A.weight"] = draw(rank, site.in_features)
        tensors[f"{key}.lora_B.weight"] = draw(member.out_features, rank)
    return tensors
