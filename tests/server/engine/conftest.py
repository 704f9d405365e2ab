"""The tiny base models with their adapters, made once for the folder."""

import pytest

from .worlds import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A Llama with every adapter of LORAS."""
    return make_world("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session", params=["llama", "qwen3", "gemma"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """One model of each family, with every adapter of LORAS."""
    return make_world(str(request.param), tmp_path_factory.mktemp(str(request.param)))
