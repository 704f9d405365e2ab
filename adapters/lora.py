"""LoRA modules on a base model: which Linears, PEFT's config, and PEFT's file layout."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from .errors import OptionsInvalid, Violation
from .options import LoraOptions
from .patterns import match_paths, path_end
from .seeds import stream_seed
from .weights import stamp_base

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PRESETS = ("attention", "mlp", "all-linear")
ATTENTION = re.compile(r"attn|attention")


def list_linears(model: PreTrainedModel) -> tuple[str, ...]:
    """Paths of every Linear but the one that gives the logits."""
    logits = model.get_output_embeddings()
    return tuple(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not logits
    )


def choose_modules(lora: LoraOptions, modules: Collection[str]) -> frozenset[str]:
    """Paths of the modules that `lora.targets` and its patterns name, out of `modules`.

    Raises:
        OptionsInvalid: A name or a pattern that matches nothing.
    """
    chosen: set[str] = set()
    wrong: list[Violation] = []
    for target in lora.targets:
        found = {name for name in modules if names_module(target, name)}
        if not found:
            expected = f"{', '.join(PRESETS)} or the name of a module that takes an adapter"
            wrong.append(Violation("TARGET_UNMATCHED", "lora.targets", repr(target), expected))
        chosen |= found
    wrong += find_unmatched("lora.rank_pattern", lora.rank_pattern, chosen)
    wrong += find_unmatched("lora.alpha_pattern", lora.alpha_pattern, chosen)
    if wrong:
        raise OptionsInvalid(tuple(wrong))
    return frozenset(chosen)


def find_unmatched(
    path: str, pattern: Mapping[str, float], chosen: Collection[str]
) -> list[Violation]:
    """The keys of a pattern that are no expressions, take too long, or match no chosen module."""
    expressions = {key: path_end(key) for key in pattern}
    broken = [key for key, expression in expressions.items() if not expression.compiles]
    expected = "a key that matches a target module"
    if broken:
        return [Violation("PATTERN_UNMATCHED", path, repr(key), expected) for key in broken]
    found = match_paths(list(expressions.values()), sorted(chosen))
    if found is None:
        return [Violation("PATTERN_UNMATCHED", path, "keys that take too long", expected)]
    return [
        Violation("PATTERN_UNMATCHED", path, repr(key), expected)
        for key, matches in zip(expressions, found, strict=True)
        if not matches
    ]


def names_module(target: str, name: str) -> bool:
    """Say whether a preset, a path or the end of a path means the module `name`."""
    if target in PRESETS:
        in_attention = ATTENTION.search(name) is not None
        return target == "all-linear" or in_attention == (target == "attention")
    return name == target or name.endswith(f".{target}")


def make_config(lora: LoraOptions, chosen: frozenset[str], linears: Collection[str]) -> LoraConfig:
    """PEFT's config; targets are the ends of paths where these mean exactly `chosen`."""
    ends = {name.rpartition(".")[2] for name in chosen}
    reached = {name for name in linears if name.rpartition(".")[2] in ends}
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha if lora.alpha is not None else 2 * lora.rank,  # type: ignore[arg-type]
        use_rslora=lora.rslora,
        target_modules=sorted(ends if reached == chosen else chosen),
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern=dict(lora.alpha_pattern),
        lora_dropout=lora.dropout,
        task_type="CAUSAL_LM",
    )


@contextmanager
def adapted(model: PreTrainedModel, config: LoraConfig, *, seed: int) -> Iterator[PeftModel]:
    """Lend the base with seeded adapter modules in float32; it is as before at the end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "init"))
        peft_model = get_peft_model(model, config)
    assert isinstance(peft_model, PeftModel)
    training = model.training
    try:
        yield peft_model
    finally:
        peft_model.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config
        model.train(training)


def read_tensors(peft_model: PeftModel) -> dict[str, nn.Parameter]:
    """The adapter's parameters by their names in the file."""
    return {
        name.replace(".default.", "."): parameter
        for name, parameter in peft_model.named_parameters()
        if parameter.requires_grad
    }


def save_adapter(
    folder: Path,
    config: LoraConfig,
    tensors: Mapping[str, Tensor],
    *,
    base_digest: str,
    template_digest: str = "",
) -> None:
    """Write PEFT's two files; base and chat template stand in the metadata of the weights.

    The config names no base model: that name would be a path on this machine.
    """
    values = config.to_dict() | {"base_model_name_or_path": None, "inference_mode": True}
    text = json.dumps(values, indent=2, sort_keys=True, default=sorted)
    (folder / CONFIG_FILE).write_text(text + "\n")
    contents = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    save_file(contents, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    stamp_base(folder / WEIGHTS_FILE, base_digest, template_digest=template_digest)
