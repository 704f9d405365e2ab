"""`weft bench`: a suite per command. Only click is imported until a suite runs."""

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from .shapes import SHAPES

DTYPES = ["float32", "float16", "bfloat16"]
PEERS = ["hf-peft"]
WRONG = 1
RESULTS = Path("bench/results")


class Ranks(click.ParamType[tuple[int, ...]]):
    """Ranks with commas between them."""

    name = "ranks"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        ranks = str(value).split(",")
        if not all(rank.isdecimal() and int(rank) > 0 for rank in ranks):
            self.fail(f"{value!r} is not ranks above 0 with commas between", param, ctx)
        return tuple(map(int, ranks))


@click.group()
def bench() -> None:
    """Measure this machine's Weft against floors and others; see bench/results/."""


@bench.command("engine")
@click.option(
    "--shape", type=click.Choice(list(SHAPES)), default="82m", show_default=True, help="The Llama."
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[cuda if there is one]")
@click.option("--dtype", type=click.Choice(DTYPES), help="[bfloat16 where it is fast]")
@click.option("--adapters", type=click.IntRange(1), default=8, show_default=True, help="Number.")
@click.option("--ranks", type=Ranks(), default="8,16,32,64", show_default=True, help="In turn.")
@click.option("--batch", type=click.IntRange(1), help="Sequences. [the shape's]")
@click.option("--prompt-tokens", type=click.IntRange(1), help="[the shape's]")
@click.option("--new-tokens", type=click.IntRange(2), help="[the shape's]")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="A B B A.")
@click.option("--threads", type=click.IntRange(1), help="Of torch. [2 on a CPU, else all cores]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and prompts.")
@click.option("--peer", "peers", type=click.Choice(PEERS), multiple=True, help="Run beside it.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    show_default=True,
    help="Folder for the record.",
)
@click.option("--conditions", "note", default="", help="What to record of the machine's state.")
@click.option("--commit", help="What ran, where the sources lie in no git repository.")
@click.pass_context
def engine(
    context: click.Context,
    shape: str,
    device: str | None,
    dtype: str | None,
    adapters: int,
    ranks: tuple[int, ...],
    batch: int | None,
    prompt_tokens: int | None,
    new_tokens: int | None,
    rounds: int,
    threads: int | None,
    seed: int,
    peers: tuple[str, ...],
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Run base-only and mixed batches through an engine in this process, with random weights."""
    from weft.server.config import default_device, default_dtype

    from .engine import run_engine_suite
    from .errors import BenchError
    from .machine import find_source
    from .options import EngineOptions
    from .record_file import store_record
    from .table import write_table

    sizes = SHAPES[shape]
    device = device or default_device()
    try:
        source = find_source(commit)
        options = EngineOptions(
            shape=sizes,
            device=device,
            dtype=dtype or default_dtype(device),
            num_adapters=adapters,
            ranks=ranks,
            batch=batch or sizes.batch,
            prompt_tokens=prompt_tokens or sizes.prompt_tokens,
            new_tokens=new_tokens or sizes.new_tokens,
            rounds=rounds,
            threads=threads or (2 if device == "cpu" else os.cpu_count() or 1),
            seed=seed,
            peers=peers,
        )
        with TemporaryDirectory(prefix="weft-bench-") as folder:
            record = run_engine_suite(
                options,
                Path(folder),
                command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
                source=source,
                note=note,
                say=lambda line: click.echo(line, err=True),
            )
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    path = store_record(record, out)
    click.echo(write_table(record), nl=False)
    click.echo(f"record: {path}")
    if not record.holds:
        context.exit(WRONG)


@bench.command("report")
@click.argument("records", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the record that slices make together.",
)
def report(records: tuple[Path, ...], out: Path | None) -> None:
    """Show stored RECORDS: none lists them all; one gets its table and plot anew; slices of a run
    become one record; two others are compared, figure by figure."""
    from .record_file import derive_files, read_record, store_record
    from .report import are_slices, compare_records, list_records, merge_slices
    from .table import write_table

    try:
        stored = [read_record(path) for path in records]
        if not stored:
            click.echo(list_records(RESULTS), nl=False)
        elif len(stored) == 1:
            derive_files(stored[0], records[0])
            click.echo(write_table(stored[0]), nl=False)
        elif are_slices(stored):
            whole = merge_slices(stored)
            click.echo(write_table(whole), nl=False)
            if out is not None:
                click.echo(f"record: {store_record(whole, out)}")
        elif len(stored) == 2:
            click.echo(compare_records(*stored), nl=False)
        else:
            raise click.UsageError("more than two records, and not slices of one run")
    except ValueError as error:
        raise click.ClickException(str(error)) from error
