"""Every family that is served equals Hugging Face + PEFT; every other is refused, with the gate."""

import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from tests.tiny import save_tiny_model
from weft.server.errors import ModelRefused

from .families import DENSE, MIXTURES, REFUSED, Family
from .stepping import Played, make_arena, open_model, play, random_tokens

LENGTHS = (23, 9, 16, 12)
TOLERANCE = 1e-4  # of a log probability; logits of the tiny models are of size 1


@pytest.mark.parametrize("family", [*DENSE, *MIXTURES], ids=lambda family: family.name)
def test_packed_chunked_mixed_batch_equals_stock_run_singly(family: Family, tmp_path: Path) -> None:
    folder = save_tiny_model(family.name, tmp_path / "base", seed=0, **family.config)
    loaded = open_model(folder)
    members = [member.name for site in loaded.facts.sites for member in site.members]
    if family in MIXTURES:  # PEFT takes other modules' names for those of fused experts
        members = [name for name in members if re.search(r"attn\.(?!gate_proj)", name)]
    stock = Stock(folder, members, tmp_path)
    slots = [*range(len(stock.adapters)), *[None] * (len(LENGTHS) - len(stock.adapters))]
    tokens = random_tokens(loaded.facts, LENGTHS)
    arena = make_arena(loaded.facts, stock.adapters, torch.float32)
    sequences = [Played(t, slot) for t, slot in zip(tokens, slots, strict=True)]
    for played, logits in zip(sequences, play(loaded, sequences, arena), strict=True):
        expected = stock.logits(played).log_softmax(-1)
        torch.testing.assert_close(logits.log_softmax(-1), expected, rtol=0, atol=TOLERANCE)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))


class Stock:
    """Hugging Face's eager model under PEFT, with random adapters that differ in rank and modules.

    Rank 4 on all members, rank 16 on the first and the third, rank 7 on every other one.

    Attributes:
        adapters: Their folders, by slot.
    """

    def __init__(self, folder: Path, members: list[str], tmp_path: Path) -> None:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        )
        self.adapters: list[Path] = []
        self._model: PreTrainedModel | PeftModel = model
        if not members:
            return
        loras = [
            LoraConfig(r=4, lora_alpha=8, target_modules=members),
            LoraConfig(r=16, lora_alpha=16, target_modules=members[:3:2]),
            LoraConfig(r=7, lora_alpha=3, target_modules=members[::2]),
        ]
        names = [f"rank-{lora.r}" for lora in loras]
        self._model = peft = get_peft_model(model, loras[0], adapter_name=names[0])
        for name, lora in zip(names[1:], loras[1:], strict=True):
            peft.add_adapter(name, lora)
        torch.manual_seed(0)
        with torch.no_grad():
            for name, parameter in peft.named_parameters():
                if "lora_" in name:
                    parameter.normal_(0, 0.15)
        peft.save_pretrained(str(tmp_path))
        self.adapters = [tmp_path / name for name in names]

    @torch.inference_mode()
    def logits(self, played: Played) -> Tensor:
        """`[n, V]`, from a run of its own."""
        if not isinstance(self._model, PeftModel):
            return self._run(played.tokens)
        if played.slot is None:
            with self._model.disable_adapter():
                return self._run(played.tokens)
        self._model.set_adapter(self.adapters[played.slot].name)
        return self._run(played.tokens)

    def _run(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self._model(input_ids=tokens[None], use_cache=False).logits[0]
        return logits


@pytest.mark.parametrize(
    ("family", "reason"), REFUSED, ids=[f"{f.name}-{r.split(' ')[1]}" for f, r in REFUSED]
)
def test_unserved_family_is_refused_naming_gate_and_value(
    family: Family, reason: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(family.name, tmp_path, seed=0, **family.config)
    with pytest.raises(ModelRefused, match=reason):
        open_model(folder)
