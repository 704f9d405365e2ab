"""`weft adapter warm | pin | unpin | residency`: in which tier of a server versions lie."""

import click

from weft.protos.v1.adapters_pb2 import Residency
from weft.protos.v1.types_pb2 import TIER_DISK, TIER_GPU, TIER_HOST, Tier

from .session import REFERENCE, Session, SessionCommand
from .terminal import columns, document_of, documents_of, short, size, when, word

TIERS = {"gpu": TIER_GPU, "host": TIER_HOST, "disk": TIER_DISK}
HEADER = ("models", "tier", "size", "pinned", "last use", "server", "digest")


@click.command(cls=SessionCommand)
@REFERENCE
@click.option("--tier", type=click.Choice(list(TIERS)), default="gpu", show_default=True)
@click.pass_obj
def warm(session: Session, reference: str, tier: str) -> None:
    """Bring a version to a tier of the server before anybody asks for it."""
    with session.client() as weft:
        warmed = weft.warm(reference, tier=TIERS[tier])
    line = f"{reference} is in {tier} memory after {warmed.elapsed_ms:.0f} ms"
    session.terminal.show(document_of(warmed), [line.replace("disk memory", "the disk cache")])


@click.command(cls=SessionCommand)
@REFERENCE
@click.option("--tier", type=click.Choice(["gpu", "host"]), default="gpu", show_default=True)
@click.pass_obj
def pin(session: Session, reference: str, tier: str) -> None:
    """Bring a version to a tier of the server and keep it there."""
    with session.client() as weft:
        pinned = weft.pin(reference, tier=TIERS[tier])
    session.terminal.show(document_of(pinned), [f"{reference} stays in {tier} memory"])


@click.command(cls=SessionCommand)
@REFERENCE
@click.pass_obj
def unpin(session: Session, reference: str) -> None:
    """Let a pinned version be evicted again."""
    with session.client() as weft:
        weft.unpin(reference)
    session.terminal.show({"unpinned": reference}, [f"{reference} is not pinned"])


@click.command(cls=SessionCommand)
@click.argument("reference", metavar="[REF]", default="")
@click.pass_obj
def residency(session: Session, reference: str) -> None:
    """List which versions lie in which tier of the server."""
    with session.client() as weft:
        found = weft.residency(reference)
    session.terminal.show(documents_of(found), columns(HEADER, map(row, found)))


def row(found: Residency) -> list[object]:
    return [
        ",".join(found.models),
        word(Tier.Name(found.tier), "TIER_"),
        size(found.image_bytes),
        "yes" if found.pinned else "",
        when(found.last_use_ms) if found.last_use_ms else "",
        found.server,
        short(found.digest),
    ]
