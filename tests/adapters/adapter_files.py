"""A PEFT adapter on disk that a test changes in one place before it is checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.tiny import save_tiny_adapter
from weft.adapters.digest import Json

SOURCE = "weft/tiny"


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """The content of adapter_config.json and adapter_model.safetensors."""

    config: Mapping[str, Json]
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def configured(self, **keys: Json) -> "AdapterFiles":
        return replace(self, config={**self.config, **keys})

    def with_tensors(self, changed: Mapping[str, Tensor | None]) -> "AdapterFiles":
        """Replace tensors by key; None takes the key out."""
        merged = {**self.tensors, **changed}
        return replace(self, tensors={k: t for k, t in merged.items() if t is not None})

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write both files; answer their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        config, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
        config.write_text(json.dumps(self.config))
        tensors = {key: tensor.contiguous() for key, tensor in self.tensors.items()}
        save_file(tensors, weights, metadata=dict(self.metadata) or None)
        return config, weights


def load_files(folder: Path) -> AdapterFiles:
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = SOURCE
    return AdapterFiles(config, load_file(folder / "adapter_model.safetensors"))


def tiny_files(base: Path, folder: Path, lora: LoraConfig | None = None) -> AdapterFiles:
    """What PEFT saves for the model in `base`; r 4, alpha 8, q_proj and v_proj by default."""
    return load_files(save_tiny_adapter(base, folder, lora))
