"""`weft bench kernels`."""

import os
from pathlib import Path

import click

from weft.bench.kernel_options import KernelOptions, Slice

from .case_options import DTYPES, cases_of, done_option, minutes_option, slice_option
from .recording import Recording, recorded, say


@click.command("kernels")
@click.option("--full", "grid", flag_value="full", help="Every axis beyond the core, in turn.")
@click.option("--small", "grid", flag_value="small", help="Tiny shapes; all that a CPU can do.")
@click.option("--site", "sites", multiple=True, help="Of LoRA's cells, as qkv. [all]")
@click.option("--rank", "ranks", multiple=True, help="Of LoRA's cells, as r16 or mixed. [all]")
@click.option("--op", "ops", multiple=True, help="As lora, rope or tiles. [all but tiles]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[cuda; --small: cpu]")
@click.option("--dtype", type=click.Choice(DTYPES), help="[bfloat16; interpreted: float32]")
@slice_option
@minutes_option
@done_option
@click.option("--as-served", is_flag=True, help="Peers' pools as a server's: 64 slots at rank 64.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of inputs.")
@recorded
def kernels(
    grid: str | None,
    sites: tuple[str, ...],
    ranks: tuple[str, ...],
    ops: tuple[str, ...],
    device: str | None,
    dtype: str | None,
    part: Slice,
    minutes: float,
    done: tuple[Path, ...],
    as_served: bool,
    seed: int,
    recording: Recording,
) -> None:
    """Check every kernel on a GPU and time it beside its floor and other people's kernels.

    A run ends after --minutes; what is left runs with --done, or in slices, whose records `weft
    bench report` makes one. Without a GPU, --small checks every kernel in Triton's interpreter.
    """
    device = device or ("cpu" if grid == "small" else "cuda")
    if device == "cpu":
        if grid != "small":
            raise click.UsageError("kernels are timed on a GPU; on a CPU, --small checks them")
        os.environ.setdefault("TRITON_INTERPRET", "1")
    from weft.bench.kernels import run_kernel_suite

    options = KernelOptions(
        grid=grid or "core",
        device=device,
        dtype=dtype or ("float32" if device == "cpu" else "bfloat16"),
        seed=seed,
        minutes=minutes,
        sites=sites,
        ranks=ranks,
        ops=ops,
        part=part,
        as_served=as_served,
        done=cases_of(done),
    )
    recording.keep(lambda invocation, _: run_kernel_suite(options, say=say, **invocation._asdict()))
