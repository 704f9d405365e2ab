"""What the README shows is what the code does."""

import re
from pathlib import Path

import click
import pytest

from tests.server.model.families import DENSE, MIXTURES, REFUSED
from tests.tiny import save_tiny_adapter
from weft.adapters.weights import stamp_base
from weft.client import Client
from weft.server.child import Server
from weft.server.commands.serve import serve

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.xdist_group("servers")  # it runs one as well
def test_the_client_in_the_readme_publishes_and_streams(
    server: Server,
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Client(server.address) as weft:
        digest = weft.model("base").base_digest
    adapter = save_tiny_adapter(tiny_llama, tmp_path / "out" / "support")
    stamp_base(adapter / "adapter_model.safetensors", digest)
    monkeypatch.chdir(tmp_path)
    [code] = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(code.replace("localhost:7700", server.address), {})
    published, _, answer = capsys.readouterr().out.partition("\n")
    assert re.fullmatch(r"adapters/support/versions/\d+ sha256:[0-9a-f]{64}", published)
    assert answer


def test_the_readme_lists_every_option_of_serve_and_no_other() -> None:
    options = {name for parameter in serve.params for name in parameter.opts if "--" in name}
    table = README.partition("## Options")[2].partition("\n## ")[0]
    listed = {name for row in re.findall(r"^\| (.*?) \|", table, flags=re.M) for name in flags(row)}
    assert listed == options


def flags(text: str) -> list[str]:
    return re.findall(r"--[a-z-]+", text)


def test_the_readme_names_the_families_that_are_tested() -> None:
    table = README.partition("## Models")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| .+? \| (.+) \|$", table, flags=re.M)[-3:]
    refused = dict.fromkeys(family.name for family, _ in REFUSED if family.name != "llama")
    named = [[family.name for family in group] for group in (DENSE, MIXTURES)]
    assert [row.split(", ") for row in rows] == [*named, [*refused]]


def test_every_command_and_flag_of_the_readme_exists() -> None:
    from weft.server.cli import weft as group

    lines = re.findall(r"^\.venv/bin/weft (.+)$", README, flags=re.M)
    assert len(lines) >= 4
    context = click.Context(group)
    for line in lines:
        command: click.Command = group
        for word in line.split():
            if not isinstance(command, click.Group):
                break
            below = command.get_command(context, word)
            assert below is not None, line
            command = below
        known = {name for parameter in command.get_params(context) for name in parameter.opts}
        assert set(flags(line)) <= known, line


def test_every_folder_and_file_of_the_readme_exists() -> None:
    paths = re.findall(r"`((?:server|adapters|engine|rpc|model|protos|kernels)/[\w./]*)`", README)
    places = [ROOT, ROOT / "server"]
    assert [path for path in paths if not any((at / path).exists() for at in places)] == []


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in ("demo", "test", "lint", "protos"):
        assert re.search(rf"^{command}:", makefile, flags=re.M)
        assert f"make {command}" in README
