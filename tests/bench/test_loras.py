"""Random adapters: their ranks, their images, and what is left on disk."""

from pathlib import Path

import pytest
import torch

from weft.adapters.image import read_image
from weft.adapters.layout import place_slices
from weft.bench.bed import Bed
from weft.bench.loras import Lora, write_loras


def write(bed: Bed, folder: Path, *, seed: int = 0, keep_files: bool = False) -> tuple[Lora, ...]:
    return write_loras(
        bed.facts,
        folder,
        num=3,
        ranks=(4, 9),
        seed=seed,
        device=torch.device("cpu"),
        keep_files=keep_files,
    )


def test_ranks_come_in_turn_and_every_linear_has_its_adapter(bed: Bed, tmp_path: Path) -> None:
    loras = write(bed, tmp_path)
    assert [lora.rank for lora in loras] == [4, 9, 4]
    for lora in loras:
        image = read_image(lora.image, bed.facts)
        assert image.digest == lora.digest
        assert set(image.rank.tolist()) == {lora.rank}
        ranks = dict.fromkeys(bed.facts.members, lora.rank)
        assert lora.num_elements == place_slices(bed.facts, ranks).num_elements


def test_adapters_differ_and_equal_seeds_do_not(bed: Bed, tmp_path: Path) -> None:
    first = [lora.digest for lora in write(bed, tmp_path / "1")]
    assert len(set(first)) == 3
    assert first == [lora.digest for lora in write(bed, tmp_path / "2")]
    assert not set(first) & {lora.digest for lora in write(bed, tmp_path / "3", seed=1)}


@pytest.mark.parametrize("keep_files", [False, True])
def test_files_stay_only_if_they_are_to_be_kept(bed: Bed, tmp_path: Path, keep_files: bool) -> None:
    for lora in write(bed, tmp_path, keep_files=keep_files):
        assert (lora.files / "adapter_model.safetensors").is_file() is keep_files
        assert lora.image.is_file()
