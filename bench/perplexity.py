"""Perplexity of a base, alone and with adapters, on rows that the adapters were not trained on."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor
from transformers import AutoTokenizer, GenerationConfig

from weft.adapters.admission import WEIGHTS_FILE
from weft.adapters.config import CONFIG_FILE
from weft.adapters.dataset import read_dataset
from weft.adapters.finetune import find_end_ids
from weft.adapters.image import write_image
from weft.adapters.options import read_options
from weft.adapters.prepare import prepare
from weft.adapters.sites import BaseFacts
from weft.adapters.template import Example
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import check_adapter
from weft.kernels import Arena
from weft.server.model.loader import LoadedModel
from weft.server.worker_probe import load_arena

BASE_ROWS = "base"
LIMITS = Limits(max_rank=256, max_file_bytes=sys.maxsize, arena_bytes=sys.maxsize)


@dataclass(frozen=True, slots=True)
class Shop:
    """A folder with `base/`, and for each adapter `adapters/NAME/` and `data/NAME.jsonl`."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def adapters(self) -> dict[str, Path]:
        return {path.name: path for path in sorted((self.folder / "adapters").iterdir())}

    def held_out(self, name: str, facts: BaseFacts) -> tuple[Example, ...]:
        """The rows that the adapter's job held out, by the options and the seed of its file."""
        job = yaml.safe_load((self.adapters[name] / "job.yaml").read_text(encoding="utf-8"))
        tokenizer = AutoTokenizer.from_pretrained(self.base)
        prepared = prepare(
            read_dataset(self.folder / "data" / f"{name}.jsonl").rows,
            tokenizer,
            read_options({"lora": job["lora"], **job["optimisation"], **job["limits"]}),
            max_context=facts.max_context,
            end_ids=find_end_ids(GenerationConfig.from_pretrained(self.base), tokenizer),
        )
        return prepared.require_plan().held_out


def find_perplexities(model: LoadedModel, shop: Shop, scratch: Path) -> dict[str, float]:
    """Of the base on all rows, and of every adapter on its own, by name; on the trained tokens."""
    rows = {name: shop.held_out(name, model.facts) for name in shop.adapters}
    found = {BASE_ROWS: perplexity(model, None, [row for own in rows.values() for row in own])}
    for name, folder in shop.adapters.items():
        image = scratch / f"{name}-{model.facts.precision}"
        files = (folder / CONFIG_FILE, folder / WEIGHTS_FILE)
        checked = check_adapter(*files, model.facts, limits=LIMITS, assert_base=True)
        write_image(checked, model.facts, image)
        found[name] = perplexity(model, load_arena(model, model.facts, image), rows[name])
    return found


def perplexity(model: LoadedModel, arena: Arena | None, rows: Sequence[Example]) -> float:
    """e to the mean loss of the rows' trained tokens, with the adapter in slot 0, if any."""
    losses = torch.cat([find_losses(model, arena, row) for row in rows])
    return math.exp(float(losses.double().mean()))


def find_losses(model: LoadedModel, arena: Arena | None, row: Example) -> Tensor:
    """Minus the log-probability of each trained token of a row, in one step."""
    tokens_T = torch.from_numpy(row.ids).to(model.device)
    step, cache = model.whole_step(tokens_T, slot=None if arena is None else 0)
    logits_TV = model.forward(step, cache, arena)
    losses_T = torch.nn.functional.cross_entropy(logits_TV[:-1], tokens_T[1:], reduction="none")
    return losses_T[torch.from_numpy(row.trained[1:]).to(model.device)]
