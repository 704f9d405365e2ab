"""The evidence of a probe is what HF and PEFT compute."""

from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_adapter
from weft.adapters.image import write_image
from weft.adapters.lora import CONFIG_FILE, WEIGHTS_FILE
from weft.adapters.probe import probe_tokens
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import check_adapter
from weft.server.model.evidence import collect_evidence
from weft.server.model.facts import base_facts
from weft.server.model.loader import load_model
from weft.server.worker_probe import load_arena


def test_evidence_equals_the_stock_model_with_and_without_the_adapter(
    tiny_llama: Path, tmp_path: Path
) -> None:
    facts = base_facts(tiny_llama, name="tiny", dtype="float32", hash_cache=None)
    model = load_model(tiny_llama, facts=facts, device="cpu", dtype=torch.float32)
    folder = save_tiny_adapter(tiny_llama, tmp_path / "adapter")
    files = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    limits = Limits(max_rank=64, max_file_bytes=1 << 20, arena_bytes=1 << 20)
    adapter = check_adapter(*files, facts, limits=limits, assert_base=True)
    write_image(adapter, facts, tmp_path / "image")

    evidence = collect_evidence(model, load_arena(model, facts, tmp_path / "image"), 0)

    tokens = torch.tensor([probe_tokens(facts.vocab_size)])
    stock = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), folder)
    with torch.no_grad():
        adapted = stock(tokens).logits[0]
        with stock.disable_adapter():
            base = stock(tokens).logits[0]
    torch.testing.assert_close(evidence.base_logits_TV, base, atol=1e-4, rtol=0)
    torch.testing.assert_close(evidence.adapted_logits_TV, adapted, atol=1e-4, rtol=0)
    assert {capture.site for capture in evidence.captures} == {site.name for site in facts.sites}
