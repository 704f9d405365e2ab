"""`weft demo` and its recipes as commands."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from weft.demo.command import demo
from weft.demo.datasets import STYLES


def test_the_command_is_found_without_the_servers_packages() -> None:
    heavy = "{'torch', 'transformers', 'grpc_health', 'weft.server'} & set(sys.modules)"
    code = f"import sys, weft.demo.command; sys.exit(len({heavy}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_data_sets_are_written_again(tmp_path: Path) -> None:
    result = CliRunner().invoke(demo, ["data", str(tmp_path / "data")])
    assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "data").iterdir()} == set(STYLES)


def test_every_recipe_is_a_command() -> None:
    assert set(demo.commands) == {"base", "data", "adapters"}
