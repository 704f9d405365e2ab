"""`weft demo`, and under it the recipes of what it uses.

Only the client's packages are imported here, so that `weft --help` works without the server's.
"""

from pathlib import Path

import click
from rich.console import Console

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(invoke_without_command=True)
@click.pass_context
def demo(context: click.Context) -> None:
    """Serve the demo's base model and three adapters, train a fourth, and ask them all."""
    if context.invoked_subcommand is None:
        from .run import run_demo

        run_demo(Console(highlight=False))


@demo.command("base")
@click.argument("folder", type=FOLDER)
def build_base_model(folder: Path) -> None:
    """Train the base model again into FOLDER: half an hour; `weft -v` shows the loss."""
    from .recipe import Recipe, build_base

    build_base(Recipe(), folder)


@demo.command("data")
@click.argument("folder", type=FOLDER)
def build_data(folder: Path) -> None:
    """Write the data sets again into FOLDER."""
    from .datasets import write_datasets

    write_datasets(folder)


@demo.command("adapters")
@click.argument("folder", type=FOLDER)
def build_adapters(folder: Path) -> None:
    """Train the adapters again into FOLDER: a minute; `weft -v` shows the loss."""
    from .tune import tune_all

    tune_all(folder)
