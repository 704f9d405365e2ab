"""The worker's probe: an image is judged by what it does to the base."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig

from tests.tiny import save_tiny_adapter
from weft.adapters.errors import Refused
from weft.adapters.image import write_image
from weft.adapters.lora import CONFIG_FILE, WEIGHTS_FILE
from weft.adapters.probe import TOLERANCES
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, check_adapter
from weft.server.model.facts import base_facts
from weft.server.model.loader import LoadedModel, load_model
from weft.server.worker_probe import probe_image

LIMITS = Limits(64, 1 << 30, 1 << 30)


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return base_facts(str(tiny_llama), name="tiny", dtype="float32", hash_cache=None)


@pytest.fixture(scope="module")
def model(tiny_llama: Path, facts: BaseFacts) -> LoadedModel:
    return load_model(tiny_llama, facts=facts, device="cpu", dtype=torch.float32)


@pytest.fixture(scope="module")
def adapter(
    tiny_llama: Path, facts: BaseFacts, tmp_path_factory: pytest.TempPathFactory
) -> CheckedAdapter:
    lora = LoraConfig(r=4, lora_alpha=12, use_rslora=True, target_modules=["q_proj", "down_proj"])
    folder = save_tiny_adapter(tiny_llama, tmp_path_factory.mktemp("adapter"), lora)
    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    return check_adapter(config, weights, facts, limits=LIMITS, assert_base=True)


def test_adapter_that_does_what_its_files_say_passes(
    model: LoadedModel, facts: BaseFacts, adapter: CheckedAdapter, tmp_path: Path
) -> None:
    write_image(adapter, facts, tmp_path / "image")

    found = probe_image(model, facts, adapter, tmp_path / "image")

    assert found.largest_error <= TOLERANCES["float32"]
    assert found.logit_change > 0.01


def test_image_of_other_scaling_is_refused(
    model: LoadedModel, facts: BaseFacts, adapter: CheckedAdapter, tmp_path: Path
) -> None:
    first, *others = adapter.modules
    wrong = replace(adapter, modules=(replace(first, scaling=2 * first.scaling), *others))
    write_image(wrong, facts, tmp_path / "image")

    with pytest.raises(Refused) as caught:
        probe_image(model, facts, adapter, tmp_path / "image")

    assert [(v.code, v.path) for v in caught.value.violations] == [("PROBE_MISMATCH", first.name)]


def test_adapter_without_effect_is_refused(
    model: LoadedModel, facts: BaseFacts, adapter: CheckedAdapter, tmp_path: Path
) -> None:
    silent = replace(
        adapter, modules=tuple(replace(m, b=torch.zeros_like(m.b)) for m in adapter.modules)
    )
    write_image(silent, facts, tmp_path / "image")

    with pytest.raises(Refused, match="NO_EFFECT"):
        probe_image(model, facts, silent, tmp_path / "image")
