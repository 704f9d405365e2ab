"""What every command that talks to a server is told, and how it is told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import click

from weft.client import AsyncClient, Client
from weft.client.faces import ADDRESS

from .terminal import Terminal

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Session:
    """Where the server is, who asks, and how answers are printed."""

    address: str = ADDRESS
    timeout_s: float | None = None
    api_key: str | None = field(default=None, repr=False)
    terminal: Terminal = field(default_factory=Terminal)

    def client(self) -> Client:
        return Client(self.address, api_key=self.api_key, timeout_s=self.timeout_s)

    def async_client(self) -> AsyncClient:
        return AsyncClient(self.address, api_key=self.api_key, timeout_s=self.timeout_s)

    def refine(
        self,
        *,
        address: str | None,
        output: str | None,
        timeout: float | None,
        quiet: bool | None,
    ) -> "Session":
        """Answer this session with what was given in place of what it had."""
        terminal = Terminal(
            json=self.terminal.json if output is None else output == "json",
            quiet=self.terminal.quiet if quiet is None else quiet,
        )
        return replace(
            self,
            address=self.address if address is None else address,
            timeout_s=self.timeout_s if timeout is None else timeout,
            terminal=terminal,
        )


def session_options(*, with_environment: bool) -> list[click.Option]:
    """The options of a session; before the command's name the environment gives their defaults."""

    def variable(name: str) -> str | None:
        return f"WEFT_{name}" if with_environment else None

    return [
        click.Option(
            ["--address"],
            metavar="HOST:PORT",
            envvar=variable("ADDRESS"),
            help=f"The server. [{ADDRESS}]",
        ),
        click.Option(
            ["--output"],
            type=click.Choice(["text", "json"]),
            envvar=variable("OUTPUT"),
            help="What is printed. [text]",
        ),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(0, min_open=True),
            metavar="SECONDS",
            envvar=variable("TIMEOUT"),
            help="Longest wait for an answer.",
        ),
        click.Option(
            ["--quiet"],
            is_flag=True,
            default=None,
            envvar=variable("QUIET"),
            help="No progress and no notes.",
        ),
    ]


class SessionCommand(click.Command):
    """A command that takes the session's options after its name too, where they win."""

    session_params = session_options(with_environment=False)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self.session_params]

    def invoke(self, ctx: click.Context) -> object:
        given = {name: ctx.params.pop(name) for name in ("address", "output", "timeout", "quiet")}
        ctx.obj = ctx.obj.refine(**given)
        return super().invoke(ctx)


class SessionGroup(click.Group):
    """A group of commands that talk to a server."""

    command_class = SessionCommand
    group_class = type


REFERENCE = click.argument("reference", metavar="REF")
REASON = click.option("--reason", default="", help="For the audit.")


def label_option(function: F) -> F:
    """Take labels as KEY=VALUE."""
    return click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        callback=read_labels,
        help="Label; may be repeated.",
    )(function)


def read_labels(
    context: click.Context, parameter: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    labels = dict(text.partition("=")[::2] for text in given)
    for text in given:
        if "=" not in text:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    return labels
