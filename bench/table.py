"""A record as a person reads it: at most 40 lines."""

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from .contest import spread_of
from .record import Conditions, Record

NAMES = {
    "rate": "tokens/s",
    "prefill_rate": "prefill tokens/s",
    "decode_rate": "decode tokens/s",
    "step_ms": "decode step ms",
}


def show(record: Record, console: Console) -> None:
    """Print the conditions, the checks, the figures, the loads and the verdicts."""
    for line in _heading(record):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if record.cells:
        console.print(_figures(record))
    for line in _ending(record):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _heading(record: Record) -> Iterator[str]:
    conditions, parameters = record.conditions, record.parameters
    yield (
        f"{record.suite}  {parameters['dtype']} on {parameters['device']}, "
        f"{parameters['batch']} sequences of {parameters['prompt_tokens']} + "
        f"{parameters['new_tokens']} tokens, {parameters['adapters']} adapters "
        f"of ranks {parameters['ranks']}"
    )
    source, ceilings = conditions.source, conditions.ceilings
    yield f"commit {source.commit} ({source.tree}), seed {conditions.seed}"
    yield _hardware(conditions)
    yield ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    yield (
        f"ceilings: copy {ceilings.copy_bytes_s / 1e9:,.1f} GB/s, "
        f"product {ceilings.matmul_flops_s / 1e12:,.2f} TFLOP/s"
    )
    yield from map(str, record.checks)


def _hardware(conditions: Conditions) -> str:
    hardware = conditions.hardware
    text = f"{hardware['cpu']}, {hardware['threads']} of {hardware['cores']} threads"
    if "gpu" in hardware:
        text = f"{hardware['gpu']} ({hardware['gpu_sms']} SMs, {hardware['driver']}), {text}"
    start, end = conditions.load_average
    return f"{text}, load average {start:.1f} to {end:.1f}"


def _figures(record: Record) -> Table:
    """A row per figure: its median, its spread, and how many times the least time it took."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("", "median", "spread", "floor", "times it"):
        table.add_column(heading, justify="right" if heading else "left")
    for cell in record.cells:
        floor = "" if cell.floor is None else f"{cell.floor:,.1f}"
        over = "" if cell.over_floor is None else f"{cell.over_floor:.2f}"
        spread = f"{spread_of(cell.samples):.0%}"
        table.add_row(
            cell.contender, NAMES[cell.figure], f"{cell.median:,.1f}", spread, floor, over
        )
    return table


def _ending(record: Record) -> Iterator[str]:
    for ratio in record.ratios:
        rounds = f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"
        name = f"{ratio.above} / {ratio.below}"
        yield f"{name}, {NAMES[ratio.figure]}: {ratio.median:.2f}  ({rounds})"
    for load in record.loads:
        yield (
            f"load r{load.rank}, {load.num_bytes / 1e6:,.1f} MB: "
            f"{load.median_ms:.1f} ms, {load.gigabytes_s:.1f} GB/s"
        )
    yield from map(str, record.verdicts)
    if record.ratios and record.conditions.note:
        yield f"conditions: {record.conditions.note}"
