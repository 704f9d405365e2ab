"""A server of the real wire, and both faces of the client."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from weft.client import AsyncClient, Client

from .service import State, serving


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def address(state: State) -> Iterator[str]:
    with serving(state) as address:
        yield address


@pytest.fixture
def weft(address: str) -> Iterator[Client]:
    with Client(address, api_key="weft_secret", timeout_s=20) as client:
        yield client


@pytest.fixture
async def async_weft(address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address, api_key="weft_secret", timeout_s=20) as client:
        yield client


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A folder in PEFT's layout, whose weights take several messages."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 18)
    return folder
