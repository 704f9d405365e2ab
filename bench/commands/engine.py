"""`weft bench engine`."""

import os
from pathlib import Path

import click

from weft.bench.engine.options import Part, StepOptions
from weft.bench.kernel_options import Slice
from weft.bench.shapes import SHAPES

from .case_options import DTYPES, cases_of, done_option, minutes_option, slice_option
from .recording import Recording, recorded, say


@click.command("engine")
@click.option("--shape", type=click.Choice(list(SHAPES)), help="The Llama. [8b; on a CPU 82m]")
@click.option(
    "--part", "parts", multiple=True, type=click.Choice([part.value for part in Part]), help="[all]"
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[cuda if there is one]")
@click.option("--dtype", type=click.Choice(DTYPES), help="[bfloat16 where it is fast]")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="A B B A.")
@click.option("--threads", type=click.IntRange(1), help="Of torch. [2 on a CPU, else all cores]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and prompts.")
@slice_option
@minutes_option
@done_option
@recorded
def engine(
    shape: str | None,
    parts: tuple[str, ...],
    device: str | None,
    dtype: str | None,
    rounds: int,
    threads: int | None,
    seed: int,
    part: Slice,
    minutes: float,
    done: tuple[Path, ...],
    recording: Recording,
) -> None:
    """Time an engine in this process, with random weights: decode steps, the price of LoRA in
    them and in prefills, loads, a start, and drafts beside none; judge goals P2 and P3.

    A run ends after --minutes; what is left runs with --done, or in slices, whose records `weft
    bench report` makes one. Shapes other than 8b have smaller batches and prompts.
    """
    from weft.bench.engine.suite import run_engine_suite
    from weft.server.config import default_device, default_dtype

    device = device or default_device()
    options = StepOptions(
        shape=SHAPES[shape or ("82m" if device == "cpu" else "8b")],
        device=device,
        dtype=dtype or default_dtype(device),
        seed=seed,
        threads=threads or (2 if device == "cpu" else os.cpu_count() or 1),
        rounds=rounds,
        minutes=minutes,
        parts=tuple(map(Part, parts)) or tuple(Part),
        part=part,
        done=cases_of(done),
    )
    recording.keep(
        lambda invocation, folder: run_engine_suite(options, folder, invocation=invocation, say=say)
    )
