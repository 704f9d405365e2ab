"""`weft adapter alias`: where the movable names of versions point."""

import click

from weft.protos.v1.types_pb2 import Alias

from .session import REASON, Session, SessionGroup
from .terminal import columns, documents_of

NAME = click.argument("name")
IF_GENERATION = click.option(
    "--if-generation", type=click.IntRange(0), help="Only if it is at this; 0: only if new."
)


@click.group(cls=SessionGroup)
def alias() -> None:
    """Aliases: movable names of versions."""


@alias.command("set")
@NAME
@click.argument("alias")
@click.argument("version", type=click.IntRange(1))
@IF_GENERATION
@REASON
@click.pass_obj
def set_alias(
    session: Session,
    name: str,
    alias: str,
    version: int,
    if_generation: int | None,
    reason: str,
) -> None:
    """Point ALIAS of NAME to VERSION."""
    with session.client() as weft:
        moved = weft.set_alias(
            name, alias, version, expected_generation=if_generation, reason=reason
        )
    show_aliases(session, moved)


@alias.command("delete")
@NAME
@click.argument("alias")
@IF_GENERATION
@REASON
@click.pass_obj
def delete_alias(
    session: Session, name: str, alias: str, if_generation: int | None, reason: str
) -> None:
    """Delete ALIAS of NAME."""
    with session.client() as weft:
        weft.delete_alias(name, alias, expected_generation=if_generation, reason=reason)
    session.terminal.show({"deleted": f"{name}:{alias}"}, [f"{name}:{alias} deleted"])


@alias.command("list")
@NAME
@click.pass_obj
def list_aliases(session: Session, name: str) -> None:
    """List the aliases of NAME."""
    with session.client() as weft:
        show_aliases(session, *weft.aliases(name))


@alias.command("rollback")
@NAME
@click.argument("alias")
@IF_GENERATION
@REASON
@click.pass_obj
def rollback_alias(
    session: Session, name: str, alias: str, if_generation: int | None, reason: str
) -> None:
    """Point ALIAS of NAME to where it pointed before."""
    with session.client() as weft:
        moved = weft.rollback(name, alias, expected_generation=if_generation, reason=reason)
    show_aliases(session, moved)


def show_aliases(session: Session, *aliases: Alias) -> None:
    rows = (
        (
            f"{one.adapter}:{one.alias}",
            one.version,
            one.generation,
            one.previous_version if one.HasField("previous_version") else "",
        )
        for one in aliases
    )
    header = ("alias", "version", "generation", "previous")
    session.terminal.show(documents_of(aliases), columns(header, rows))
