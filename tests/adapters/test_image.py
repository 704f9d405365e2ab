import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import Linear
from torch import Tensor
from transformers import AutoModelForCausalLM

from weft.adapters.errors import BaseNotServed, ContentCorrupt
from weft.adapters.evidence import Evidence
from weft.adapters.image import PREFIX_BYTES, Image, read_image, write_image
from weft.adapters.sites import BaseFacts, Member, Site
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, CheckedModule, check_adapter

from .adapter_files import tiny_files
from .tiny_facts import tiny_facts

NEGATIVE = b'{"digest": "d", "layout": "l", "num_elements": -9}'
LIMITS = Limits(max_rank=64, max_file_bytes=1 << 24, arena_bytes=1 << 24)
LORAS = {
    "all": LoraConfig(r=4, lora_alpha=6, target_modules="all-linear"),
    "mixed ranks": LoraConfig(
        r=5,
        lora_alpha=3,
        use_rslora=True,
        target_modules=["q_proj", "v_proj", "up_proj", "down_proj"],
        rank_pattern={"v_proj": 1, "0.mlp.up_proj": 16},
        alpha_pattern={"down_proj": 11},
    ),
    "one module": LoraConfig(r=2, target_modules=["model.layers.1.self_attn.k_proj"]),
}


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return tiny_facts(tiny_llama)


@pytest.fixture(scope="module", params=LORAS.values(), ids=list(LORAS))
def adapter_folder(
    request: pytest.FixtureRequest, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    tiny_files(tiny_llama, folder, request.param).save(folder)
    return folder


@pytest.fixture(scope="module")
def small(facts: BaseFacts) -> CheckedAdapter:
    """An adapter of one module with round numbers."""
    a, b = torch.arange(128.0).reshape(2, 64), torch.arange(64.0).reshape(32, 2)
    module = CheckedModule("model.layers.0.self_attn.k_proj", 2, 0.5, a, b)
    return CheckedAdapter("sha256:d", (module,), (), Evidence.NAME, "float32")


def checked(folder: Path, facts: BaseFacts) -> CheckedAdapter:
    files = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    return check_adapter(*files, facts, limits=LIMITS)


def packed(adapter: CheckedAdapter, facts: BaseFacts, path: Path) -> Image:
    write_image(adapter, facts, path)
    return read_image(path, facts)


def delta(image: Image, facts: BaseFacts, j: int) -> Tensor:
    """What column j of an image adds to its Linear's weight [N, K], in float64."""
    site, member = list(facts.members.values())[j]
    rank = int(image.rank[j])
    a, b = (
        image.data[at : at + rank * width].view(rank, width).double()
        for at, width in (
            (int(image.a_at[j]), site.in_features),
            (int(image.b_at[j]), member.out_features),
        )
    )
    return b.T @ a


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("bfloat16", 6e-3)]
)
def test_an_image_holds_pefts_deltas_and_nothing_else(
    dtype: str,
    tolerance: float,
    adapter_folder: Path,
    tiny_llama: Path,
    facts: BaseFacts,
    tmp_path: Path,
) -> None:
    served = replace(facts, dtype=dtype)
    adapter = checked(adapter_folder, served)
    image = packed(adapter, served, tmp_path / "image")
    assert (image.digest, image.layout_id) == (adapter.digest, served.layout_id)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, str(adapter_folder))
    layers = dict(peft.get_base_model().named_modules())
    for j, name in enumerate(served.members):
        layer = layers[name]
        assert bool(image.rank[j]) is isinstance(layer, Linear)
        if isinstance(layer, Linear):
            wanted = layer.get_delta_weight("default").detach().double()
            error = (delta(image, served, j) - wanted).norm() / wanted.norm()
            assert error < tolerance, name


def test_an_image_starts_at_an_aligned_place_and_is_not_padded(
    small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    image = packed(small, facts, tmp_path / "image")
    assert image.data.data_ptr() % 128 == 0
    assert image.num_elements == 128 + 64
    assert torch.equal(image.data[:128], torch.arange(128.0))
    assert torch.equal(image.data[128:].view(2, 32), 0.5 * torch.arange(64.0).reshape(32, 2).T)
    assert image.rank.tolist() == [0, 2] + [0] * (facts.num_slices - 2)
    assert (image.a_at[1], image.b_at[1]) == (0, 128)


def test_equal_adapters_give_equal_bytes(
    small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    write_image(small, facts, tmp_path / "one")
    write_image(small, facts, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_image_without_a_module_is_empty(facts: BaseFacts, tmp_path: Path) -> None:
    nothing = CheckedAdapter("sha256:d", (), (), Evidence.NAME, "float32")
    image = packed(nothing, facts, tmp_path / "image")
    assert image.num_elements == 0
    assert not image.rank.any()


def test_an_image_stays_readable_when_its_file_is_removed(
    small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    image = packed(small, facts, tmp_path / "image")
    (tmp_path / "image").unlink()
    assert image.data.sum() == torch.arange(128.0).sum() + 0.5 * torch.arange(64.0).sum()


class Vanishing(type(Path())):  # type: ignore[misc]
    """A file that somebody removes right after it was found to be there."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        found: os.stat_result = super().stat(follow_symlinks=follow_symlinks)
        self.unlink()
        return found


def test_an_image_that_goes_while_it_is_read_is_missing(
    small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    write_image(small, facts, path)
    with pytest.raises(FileNotFoundError, match="has gone"):
        read_image(Vanishing(path), facts)


def test_an_image_of_another_layout_is_refused(
    small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    write_image(small, facts, tmp_path / "image")
    wider = Site("extra", 64, (Member("extra", 64),))
    for other in (
        replace(facts, dtype="bfloat16"),
        replace(facts, quantisation="int8"),
        replace(facts, sites=(*facts.sites, wider)),
    ):
        with pytest.raises(BaseNotServed, match=re.escape(f"expected {other.layout_id}")):
            read_image(tmp_path / "image", other)


@pytest.mark.parametrize("change", [-1, 1, -64, 128])
def test_an_image_of_another_size_is_corrupt(
    change: int, small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    write_image(small, facts, path)
    data = path.read_bytes() + bytes(128)
    path.write_bytes(data[: len(data) - 128 + change])
    with pytest.raises(ContentCorrupt, match="expected"):
        read_image(path, facts)


@pytest.mark.parametrize("data", [b"", b"weft-img", b"weft-img" + b"\xff" * 9, b"x" * 400])
def test_what_is_no_image_is_corrupt(data: bytes, facts: BaseFacts, tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ContentCorrupt):
        read_image(tmp_path / "image", facts)


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"digest": 1}', NEGATIVE, b"\xff"])
def test_a_broken_header_is_corrupt(header: bytes, facts: BaseFacts, tmp_path: Path) -> None:
    data = b"weft-img" + len(header).to_bytes(8, "little") + header
    (tmp_path / "image").write_bytes(data)
    with pytest.raises(ContentCorrupt, match="header"):
        read_image(tmp_path / "image", facts)


@pytest.mark.parametrize("column", range(3), ids=["a_at", "b_at", "rank"])
def test_a_table_that_does_not_fit_the_data_is_corrupt(
    column: int, small: CheckedAdapter, facts: BaseFacts, tmp_path: Path
) -> None:
    path = tmp_path / "image"
    write_image(small, facts, path)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[8:PREFIX_BYTES], "little")
    assert json.loads(data[PREFIX_BYTES : PREFIX_BYTES + length])["num_elements"] == 192
    starts = np.cumsum([0, 8 * facts.num_slices, 8 * facts.num_slices])
    data[PREFIX_BYTES + length + int(starts[column])] += 1
    path.write_bytes(data)
    with pytest.raises(ContentCorrupt, match="table"):
        read_image(path, facts)
