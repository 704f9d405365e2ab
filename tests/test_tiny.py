"""The tiny models that the other tests stand on."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from .tiny import FAMILIES, save_tiny_adapter, save_tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_tiny_model_loads_and_its_adapter_changes_the_logits(family: str, tmp_path: Path) -> None:
    folder = save_tiny_model(family, tmp_path / "base")
    adapter = save_tiny_adapter(folder, tmp_path / "adapter")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokens = torch.tensor([AutoTokenizer.from_pretrained(folder).encode("the quick fox")])
    before = model(tokens).logits
    model.load_adapter(str(adapter))
    assert not torch.allclose(before, model(tokens).logits, atol=1e-3)
