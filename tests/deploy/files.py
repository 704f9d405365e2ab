"""What lies in `deploy/`, read for the tests."""

import configparser
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import yaml

from weft.server.cli import COMMANDS, weft
from weft.server.commands.serve import serve
from weft.server.config import Address

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXTS = {
    str(path.relative_to(DEPLOY)): path.read_text()
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and path.name != ".env" and "secrets" not in path.parts
}


@dataclass(frozen=True, slots=True)
class Service:
    """A service of compose.yaml, without what the tests do not ask for."""

    command: list[str]
    environment: dict[str, str]
    volumes: list[str]
    ports: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    stop_s: float = 10.0


def services() -> dict[str, Service]:
    found = yaml.safe_load(TEXTS["compose.yaml"])["services"]
    return {
        name: Service(
            command=given["command"],
            environment=given["environment"],
            volumes=given["volumes"],
            ports=given.get("ports", []),
            secrets=given.get("secrets", []),
            stop_s=float(given.get("stop_grace_period", "10s").removesuffix("s")),
        )
        for name, given in found.items()
    }


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's lines as keyword and rest, continuations joined."""
    text = TEXTS["Dockerfile"].replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (i.partition(" ") for i in lines)]


def arguments_of(keyword: str) -> list[str]:
    return [rest for word, rest in instructions() if word == keyword]


def unit() -> dict[str, list[str]]:
    """The entries of the unit's service section; a name may come more than once."""
    section = TEXTS["weft.service"].partition("[Service]\n")[2].partition("\n[")[0]
    entries: dict[str, list[str]] = {}
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            entries.setdefault(name, []).append(value)
    return entries


def environment_file(text: str) -> dict[str, str]:
    parser = configparser.ConfigParser(delimiters="=", interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(f"[all]\n{text}")
    return dict(parser["all"])


def blocks(language: str, *, heading: str | None = None) -> list[str]:
    """The README's code blocks in one language, of all sections or of one."""
    text = TEXTS["README.md"]
    if heading is not None:
        assert f"\n## {heading}\n" in text
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def shell_lines() -> list[list[str]]:
    """The words of every command line in the README."""
    joined = "".join(blocks("sh")).replace("\\\n", " ")
    return [shlex.split(line) for line in joined.splitlines() if "<<" not in line]


def weft_calls(words: list[str]) -> Iterator[list[str]]:
    """Find what follows `weft` where a command or an option follows it."""
    for at, word in enumerate(words[:-1]):
        if word == "weft" and (words[at + 1] in COMMANDS or words[at + 1].startswith("-")):
            yield words[at + 1 :]


def parse(arguments: list[str]) -> dict[str, object]:
    """Parse as `weft` would, but leave files alone; raise UsageError for what it does not know."""
    command: click.Command = weft
    context = click.Context(weft, info_name="weft")
    while True:
        given, rest, _ = command.make_parser(context).parse_args(list(arguments))
        if not isinstance(command, click.Group):
            if rest:
                raise click.UsageError(f"unexpected {rest[0]}")
            return {name: value for name, value in given.items() if isinstance(value, str | bool)}
        found = command.get_command(context, rest[0]) if rest else None
        if found is None:
            raise click.UsageError(f"no command {rest[:1]}")
        command, arguments = found, rest[1:]
        context = click.Context(command, parent=context)


def default_port(option: str) -> int:
    """The port that `weft serve` takes for an address option that is not given."""
    [default] = [parameter.default for parameter in serve.params if parameter.name == option]
    return Address.parse(str(default)).port
