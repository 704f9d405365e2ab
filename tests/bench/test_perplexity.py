"""Perplexities are those of Hugging Face + PEFT, on the tokens of the rows that were held out."""

import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from weft.adapters.template import Example
from weft.bench.perplexity import find_perplexities
from weft.server.model.facts import base_facts
from weft.server.model.loader import load_model

from .shops import NUM_ROWS, save_shop


@torch.inference_mode()
def plain_perplexity(base: Path, adapter: Path | None, rows: tuple[Example, ...]) -> float:
    model: torch.nn.Module = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    losses = []
    for row in rows:
        ids = torch.from_numpy(row.ids)
        logprobs = model(input_ids=ids[None]).logits[0].log_softmax(-1)
        losses += [-logprobs[t - 1, ids[t]] for t in range(1, len(ids)) if row.trained[t]]
    return math.exp(torch.stack(losses).double().mean().item())


def test_perplexities_are_of_the_held_out_tokens(tmp_path: Path) -> None:
    shop = save_shop(tmp_path)
    facts = base_facts(shop.base, name="base", dtype="float32", hash_cache=None)
    rows = shop.held_out("own", facts)
    assert len(rows) == NUM_ROWS // 2
    model = load_model(shop.base, facts=facts, device="cpu", dtype=torch.float32)
    found = find_perplexities(model, shop, tmp_path)
    adapter = shop.adapters["own"]
    assert found.keys() == {"base", "own"}
    assert found["base"] == pytest.approx(plain_perplexity(shop.base, None, rows), rel=1e-4)
    assert found["own"] == pytest.approx(plain_perplexity(shop.base, adapter, rows), rel=1e-4)
