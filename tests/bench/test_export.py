"""What a peer that is started by hand is given is what the suite runs."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from weft.bench.bed import Bed
from weft.bench.export import export_bed
from weft.bench.random_model import build_model

from .beds import TINY


def test_base_and_adapters_are_those_of_the_bed(bed: Bed, tmp_path: Path) -> None:
    export_bed(TINY, tmp_path)
    weights = "adapter_model.safetensors"
    for lora in bed.loras:
        exported = tmp_path / "adapters" / lora.name
        assert (exported / weights).read_bytes() == (lora.files / weights).read_bytes()
    assert not list(tmp_path.rglob("*.image"))
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "base").state_dict()
    device = torch.device("cpu")
    model = build_model(TINY.shape, seed=0, device=device, dtype=torch.float32, attention="eager")
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor), name
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    assert tokenizer.convert_ids_to_tokens([7, 319]) == ["t7", "t319"]
