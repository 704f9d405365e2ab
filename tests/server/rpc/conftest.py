"""Fixtures of the tests against the running server, which they share and leave in order."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig

from tests.tiny import save_tiny_adapter
from weft.client import Client
from weft.protos.v1 import types_pb2
from weft.server.child import Server


@pytest.fixture(scope="session")
def folders(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters of the tiny Llama, in PEFT's layout."""
    loras = [
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
        LoraConfig(r=8, lora_alpha=8, target_modules=["o_proj", "down_proj"]),
    ]
    return [
        save_tiny_adapter(tiny_llama, tmp_path_factory.mktemp("adapter"), lora, seed=seed)
        for seed, lora in enumerate(loras)
    ]


@pytest.fixture
def weft(server: Server) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def name() -> str:
    """The name of an adapter that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def version(weft: Client, name: str, folders: list[Path]) -> types_pb2.Version:
    """Version 1 of the adapter `name`, of the first folder; `latest` and `prod` point to it."""
    return weft.publish(name, folders[0], aliases=["prod"], assert_base=True)
