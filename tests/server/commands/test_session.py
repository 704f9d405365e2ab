"""What is said before a command, after it, and by the environment."""

from pathlib import Path

import pytest

from tests.client.service import State
from weft.server.commands.session import Session

from .conftest import Weft


def test_an_option_after_the_command_wins(weft: Weft) -> None:
    assert weft("--output", "json", "models", "--output", "text").out.startswith("model")
    assert weft("models", "--output", "json").out.startswith("[")
    assert weft("--output", "json", "models").out.startswith("[")


def test_an_option_wins_over_the_environment(
    weft: Weft, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("WEFT_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("WEFT_OUTPUT", "json")
    assert weft("--address", address, "models").out.startswith("[")


def test_the_api_key_comes_from_a_file_or_the_environment(
    weft: Weft, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEFT_API_KEY", "weft_environment")
    weft("models")
    assert state.metadata[-1]["authorization"] == "Bearer weft_environment"
    (tmp_path / "key").write_text("weft_file\n")
    weft("--api-key-file", tmp_path / "key", "models")
    assert state.metadata[-1]["authorization"] == "Bearer weft_file"


def test_the_api_key_is_not_shown() -> None:
    assert "weft_secret" not in repr(Session(api_key="weft_secret"))


def test_a_timeout_is_kept(weft: Weft) -> None:
    ended = weft("--timeout", "0.2", "generate", "endless", "go")
    assert ended.code == 5
    assert "DEADLINE_EXCEEDED" in ended.err


@pytest.mark.parametrize("timeout", ["0", "-1", "soon"])
def test_a_timeout_that_is_none_is_refused(weft: Weft, timeout: str) -> None:
    assert weft("--timeout", timeout, "models").code == 2
