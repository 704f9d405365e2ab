"""The server that these tests share; no other test starts servers while they run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import running_server
from tests.tiny import save_tiny_model

from .adapters import Family, publish_family


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with room for streams that take seconds."""
    return save_tiny_model(
        "llama", tmp_path_factory.mktemp("roomy-llama"), max_position_embeddings=2048
    )


@pytest.fixture(scope="session")
def llama(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Family]:
    """The server that most of these tests share, with the adapters of CONFIGS and a worker."""
    folder = tmp_path_factory.mktemp("llama")
    with running_server(base, folder / "data") as server:
        yield publish_family(server, base, folder / "adapters")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker takes the whole folder, so that only one of its servers is busy at a time."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.xdist_group("servers"))
