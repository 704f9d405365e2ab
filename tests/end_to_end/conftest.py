"""The server that these tests share; no other test starts servers while they run."""

from pathlib import Path

import pytest

from tests.running import Server

from .adapters import Family, publish_family


@pytest.fixture(scope="session")
def llama(server: Server, tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """The shared server with the adapters of CONFIGS."""
    return publish_family(server, tiny_llama, tmp_path_factory.mktemp("llama-adapters"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker takes the whole folder, so that only one of its servers is busy at a time."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.xdist_group("servers"))
