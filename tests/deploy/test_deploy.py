"""What every file of `deploy/` names exists."""

import re

import click
import pytest
import yaml

from weft.server.cli import API_KEY, variables_of, weft

from .files import (
    DEPLOY,
    ROOT,
    TEXTS,
    blocks,
    default_port,
    parse,
    services,
    shell_lines,
    weft_calls,
)

MADE_BY_README = {"deploy/.env", "deploy/secrets", "deploy/secrets/api-keys"}


@pytest.mark.parametrize("name", TEXTS)
def test_every_weft_variable_is_one_that_weft_reads(name: str) -> None:
    known = {API_KEY, *variables_of(weft, click.Context(weft))}
    assert set(re.findall(r"\bWEFT_[A-Z_]*[A-Z]\b", TEXTS[name])) <= known


@pytest.mark.parametrize("name", TEXTS)
def test_every_port_is_a_default_of_weft_serve(name: str) -> None:
    ports = {int(port) for port in re.findall(r"\b77\d\d\b", TEXTS[name])}
    assert ports <= {default_port("listen"), default_port("metrics")}


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_in_the_repository_exists(name: str) -> None:
    folders = "|".join(path.name for path in ROOT.iterdir() if path.is_dir())
    named = set(re.findall(rf"(?<![\w/.~-])(?:{folders})/[\w./-]*\w", TEXTS[name]))
    assert [path for path in named - MADE_BY_README if not (ROOT / path).exists()] == []


def test_what_the_readme_makes_is_never_committed() -> None:
    assert {".env", "secrets/"} == set(TEXTS[".gitignore"].split())


def test_no_package_index_is_written_down() -> None:
    assert [name for name, text in TEXTS.items() if re.search(r"https?://|pypi", text)] == []


def test_every_command_line_is_one_that_weft_takes() -> None:
    calls = [call for words in shell_lines() for call in weft_calls(words)]
    assert {call[0] for call in calls} == {"--address", "models", "serve"}
    for call in calls:
        parse(call)


@pytest.mark.parametrize("name", ["weft", "worker"])
def test_every_service_runs_a_command_that_weft_has(name: str) -> None:
    assert parse(services()[name].command)["model"] == "/models/base"


@pytest.mark.parametrize(
    "call",
    [
        ["knit"],
        ["serve", "/models/base", "--gateway", "0.0.0.0:7701"],
        ["serve", "/models/base", "surplus"],
        ["--adress", "localhost:1", "models"],
    ],
    ids=lambda call: call[-2] if len(call) > 1 else call[0],
)
def test_a_command_line_that_weft_does_not_take_is_found(call: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parse(call)


def test_every_file_of_the_folder_is_used_by_another() -> None:
    others = {name: "".join(t for n, t in TEXTS.items() if n != name) for name in TEXTS}
    unused = {name for name, rest in others.items() if name.rpartition("/")[2] not in rest}
    assert unused <= {".gitignore", "Dockerfile.dockerignore"}
    assert (DEPLOY / "Dockerfile.dockerignore").exists()


def test_the_yaml_of_the_readme_names_services_of_compose() -> None:
    [override] = blocks("yaml")
    assert set(yaml.safe_load(override)["services"]) <= set(services())
