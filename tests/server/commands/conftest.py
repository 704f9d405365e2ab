"""`weft` as a person runs it, against a small server of the real wire."""

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.client.service import State, serving
from weft.server.cli import run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> Any:
        [document] = self.documents
        return document


class Weft(Protocol):
    def __call__(self, *arguments: str | Path, stdin: str = "") -> Ended: ...


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def address(state: State) -> Iterator[str]:
    with serving(state) as address:
        yield address


@pytest.fixture
def weft(address: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Weft:
    monkeypatch.setenv("WEFT_ADDRESS", address)

    def run_weft(*arguments: str | Path, stdin: str = "") -> Ended:
        capfd.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run(list(map(str, arguments)))
        return Ended(int(code), *capfd.readouterr())

    return run_weft


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"r": 8}')
    (folder / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 18)
    return folder
