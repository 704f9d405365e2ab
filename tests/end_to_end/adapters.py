"""Adapters of every shape that admission lets pass, published once to a running server."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from peft import LoraConfig

from tests.tiny import save_tiny_adapter
from weft.client import Client
from weft.server.child import Server

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
CONFIGS: Mapping[str, LoraConfig] = {
    "r4-qv": LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "r8-all": LoraConfig(r=8, lora_alpha=4, target_modules=ATTENTION + MLP),
    "r16-mlp-rslora": LoraConfig(r=16, lora_alpha=4, use_rslora=True, target_modules=MLP),
    "r64-o-down": LoraConfig(r=64, lora_alpha=16, target_modules=["o_proj", "down_proj"]),
    "r64-all": LoraConfig(r=64, lora_alpha=32, target_modules=ATTENTION + MLP),
    "r4-k-of-one-layer": LoraConfig(
        r=4, lora_alpha=16, target_modules=["k_proj"], layers_to_transform=[1]
    ),
    "rank-pattern": LoraConfig(
        r=8,
        lora_alpha=8,
        target_modules=ATTENTION,
        rank_pattern={"q_proj": 16, r"layers\.0\.self_attn\.o_proj": 4},
    ),
    "alpha-pattern": LoraConfig(
        r=16,
        lora_alpha=16,
        target_modules=MLP,
        alpha_pattern={"up_proj": 4, r"layers\.1\.mlp\.gate_proj": 2},
    ),
    "patterns-rslora": LoraConfig(
        r=4,
        lora_alpha=2,
        use_rslora=True,
        target_modules=["q_proj", "up_proj"],
        rank_pattern={"up_proj": 8},
        alpha_pattern={"q_proj": 6},
    ),
}


def save_adapters(base: Path, folder: Path) -> dict[str, Path]:
    """Save an adapter of the model in `base` per row of CONFIGS, each of other weights."""
    return {
        name: save_tiny_adapter(base, folder / name, deepcopy(config), seed=seed)
        for seed, (name, config) in enumerate(CONFIGS.items(), 1)
    }


@dataclass(frozen=True, slots=True)
class Family:
    """A running server of one architecture, and the adapters that it has by name."""

    server: Server
    base: Path
    adapters: dict[str, Path]


def publish_family(server: Server, base: Path, folder: Path) -> Family:
    """Make the adapters of CONFIGS and publish them."""
    adapters = save_adapters(base, folder)
    publish(server.address, adapters)
    return Family(server, base, adapters)


def publish(address: str, folders: Mapping[str, Path]) -> None:
    """Publish every folder under its name."""
    with Client(address) as weft:
        for name, folder in folders.items():
            weft.publish(name, folder, assert_base=True)
