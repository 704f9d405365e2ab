"""`weft version`."""

import platform
from importlib.metadata import version as installed

import click

import weft

from .session import Session, SessionCommand
from .terminal import columns


@click.command(cls=SessionCommand)
@click.pass_obj
def version(session: Session) -> None:
    """Show the versions of Weft and of what the wire depends on."""
    versions = {
        "weft": weft.__version__,
        "python": platform.python_version(),
        "grpcio": installed("grpcio"),
        "protobuf": installed("protobuf"),
    }
    session.terminal.show(versions, columns(("part", "version"), versions.items()))
