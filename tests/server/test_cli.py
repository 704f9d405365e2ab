"""`weft` itself: finding commands, reading the environment, ending with an exit code."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from weft.server.cli import COMMANDS, plug_ins, refuse_unknown_variables, run, variables_of, weft
from weft.server.commands.exits import Exit

WITHOUT_SERVER = """
import sys
for name in ("torch", "numpy", "transformers", "redis", "peft", "zmq", "tokenizers"):
    sys.modules[name] = None
sys.argv = ["weft", "--help"]
from weft.server.cli import main
main()
"""


def test_help_needs_nothing_of_the_server() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", WITHOUT_SERVER], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    for name in [*COMMANDS, *plug_ins()]:
        assert name in ended.stdout


def test_the_installed_script_runs() -> None:
    script = Path(sys.executable).parent / "weft"
    ended = subprocess.run([script, "version"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "weft" in ended.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_loads_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help"]) == Exit.DONE
    assert "Usage: weft" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["knit"]) == Exit.USAGE
    assert "knit" in capsys.readouterr().err


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run([])
    shown = capsys.readouterr()
    assert "Commands:" in shown.out + shown.err


def test_an_unknown_variable_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_ADRESS", "localhost:1")
    assert run(["version"]) == Exit.USAGE
    assert "WEFT_ADRESS" in capsys.readouterr().err


def test_a_variable_that_does_not_parse_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEFT_TIMEOUT", "soon")
    assert run(["version"]) == Exit.USAGE
    assert "soon" in capsys.readouterr().err


def test_variables_of_all_commands_and_plug_ins_are_known() -> None:
    context = click.Context(weft)
    known = set(variables_of(weft, context))
    assert {"WEFT_ADDRESS", "WEFT_OUTPUT", "WEFT_TIMEOUT", "WEFT_API_KEY_FILE"} <= known
    environment = dict.fromkeys([*known, "WEFT_API_KEY", "WEFT_DEMO_SEED", "PATH"], "")
    refuse_unknown_variables(environment, weft, context)


def test_a_server_that_is_not_there_is_unavailable(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--address", "127.0.0.1:1", "--timeout", "1", "models"]) == Exit.UNAVAILABLE
    assert capsys.readouterr().err.startswith("weft: DEADLINE_EXCEEDED")
