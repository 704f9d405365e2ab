"""`weft`: finds the command, reads the environment, and says by its exit code how it ended."""

import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import click

from weft.adapters.errors import AdapterError, Refused
from weft.client import FieldViolation, WeftError

from .commands.exits import Exit, exit_of
from .commands.session import Session, session_options
from .errors import ServerError, StartFailed
from .logs import configure_logging
from .rpc.status import row_of

COMMANDS = {
    "adapter": "weft.server.commands.adapter:adapter",
    "dataset": "weft.server.commands.dataset:dataset",
    "generate": "weft.server.commands.generate:generate",
    "job": "weft.server.commands.job:job",
    "models": "weft.server.commands.models:models",
    "serve": "weft.server.commands.serve:serve",
    "version": "weft.server.commands.version:version",
    "worker": "weft.server.commands.serve:worker",
}
PLUG_INS = "weft.commands"
API_KEY = "WEFT_API_KEY"


class Commands(click.Group):
    """Imports a command when it is asked for; plug-ins come by the entry-point group."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, _, name = COMMANDS[cmd_name].partition(":")
            command: click.Command = getattr(importlib.import_module(module), name)
            return command
        if cmd_name in plug_ins():
            loaded: click.Command = plug_ins()[cmd_name].load()
            return loaded
        return None

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the plug-ins without loading them, since they may need the server's packages."""
        with formatter.section("Plug-ins"):
            formatter.write_dl([(name, point.module) for name, point in plug_ins().items()])


def plug_ins() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=PLUG_INS)}


@click.command(
    cls=Commands,
    params=[*session_options(with_environment=True)],
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    envvar="WEFT_API_KEY_FILE",
    help=f"File with the API key. [{API_KEY}]",
)
@click.option("-v", "--verbose", count=True, help="Log more; twice for all.")
@click.pass_context
def weft(
    context: click.Context,
    address: str | None,
    output: str | None,
    timeout: float | None,
    quiet: bool | None,
    api_key_file: Path | None,
    verbose: int,
) -> None:
    """Serve many LoRA adapters from one base model, and train them in the same place."""
    refuse_unknown_variables(os.environ, weft, context)
    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    configure_logging("text", level=levels[min(verbose, 2)])
    key = api_key_file.read_text().strip() if api_key_file else os.environ.get(API_KEY)
    context.obj = Session(api_key=key).refine(
        address=address, output=output, timeout=timeout, quiet=quiet
    )


def refuse_unknown_variables(
    environment: Mapping[str, str], group: click.Group, context: click.Context
) -> None:
    """Stop at a WEFT_ variable that no command reads; a plug-in's begin with its own name.

    Raises:
        UsageError: Names the variable.
    """
    known = {API_KEY, *variables_of(group, context)}
    own = tuple(f"WEFT_{name.upper()}_" for name in plug_ins())
    for name in sorted(environment):
        if name.startswith("WEFT_") and name not in known and not name.startswith(own):
            raise click.UsageError(f"unknown variable {name}; known are {', '.join(sorted(known))}")


def variables_of(command: click.Command, context: click.Context) -> Iterator[str]:
    """Find the variables that a command and those below it read."""
    for parameter in command.params:
        if isinstance(parameter.envvar, str):
            yield parameter.envvar
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from variables_of(below, context)


def run(arguments: Sequence[str]) -> Exit | int:
    """Run one command, and answer its exit code."""
    try:
        code: object = weft.main(list(arguments), prog_name="weft", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except WeftError as error:
        report(error.reason, str(error), error.violations)
        return exit_of(error.reason, error.code)
    except Refused as error:
        found = [
            FieldViolation(v.path, f"{v.found}; expected {v.expected}", v.code)
            for v in error.violations
        ]
        report("ADAPTER_REFUSED", f"{len(found)} reasons", found)
        return Exit.REFUSED
    except StartFailed as error:
        click.echo(f"weft: cannot start: {error}", err=True)
        return Exit.FAILED
    except (AdapterError, ServerError) as error:
        row = row_of(error)
        report(row.reason, str(error), [])
        return exit_of(row.reason, row.code)
    except FileExistsError as error:
        report("ALREADY_EXISTS", str(error), [])
        return Exit.CONFLICT
    except FileNotFoundError as error:
        report("REQUEST_INVALID", f"no file {error.filename}", [])
        return Exit.USAGE
    return code if isinstance(code, int) else Exit.DONE


def report(reason: str, message: str, violations: Sequence[FieldViolation]) -> None:
    """Say on the error stream what went wrong, and everything that is wrong with what was sent."""
    click.echo(f"weft: {reason}: {message}", err=True)
    for violation in violations:
        where = f"{violation.code} {violation.field}".strip()
        click.echo(f"  {where}: {violation.description}", err=True)


def main() -> None:
    sys.exit(run(sys.argv[1:]))
