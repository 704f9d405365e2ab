"""`weft models`."""

import click

from weft.protos.v1.inference_pb2 import Model, ModelKind
from weft.protos.v1.types_pb2 import Tier

from .session import Session, SessionCommand
from .terminal import columns, documents_of, short, word

HEADER = ("model", "kind", "version", "aliases", "digest", "tier")


@click.command(cls=SessionCommand)
@click.option("--all", "all_versions", is_flag=True, help="Every version, not only the current.")
@click.pass_obj
def models(session: Session, all_versions: bool) -> None:
    """List what can be named in a request."""
    with session.client() as weft:
        listed = weft.models(all_versions=all_versions)
    session.terminal.show(documents_of(listed), columns(HEADER, map(row_of, listed)))


def row_of(model: Model) -> tuple[object, ...]:
    return (
        model.model,
        word(ModelKind.Name(model.kind), "MODEL_KIND_"),
        model.version or "",
        ",".join(f"{alias.alias}→{alias.version}" for alias in model.aliases),
        short(model.digest),
        word(Tier.Name(model.tier), "TIER_") if model.tier else "",
    )
