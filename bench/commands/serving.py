"""`weft bench serving`."""

from pathlib import Path

import click

from .case_options import FILE
from .recording import Recording, recorded, say

WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6")


@click.command("serving")
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
@recorded
def serving(
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
    recording: Recording,
) -> None:
    """Send open-loop traffic to a server of its own over gRPC, and judge goals P4 and P5.

    W1 price of LoRA · W2 number of adapters · W3 a trace · W4 churn · W5 chains · W6 abuse. Every
    server has random weights; what does not fit on the disk is left out, and the record says so.

    With --address, a server that runs gets the adapters through its API, and loses them at the
    end; workloads that need options of their own at its start are left out by name.
    """
    from weft.bench.serving.options import HostOptions, Remote, ServingOptions
    from weft.bench.serving.suite import run_serving

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
    recording.keep(lambda invocation, _: run_serving(options, invocation=invocation, say=say))
