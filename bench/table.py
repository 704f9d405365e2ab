"""A record as a person reads it: Markdown, in the terminal at most 40 lines of it."""

from collections.abc import Iterator

from .markdown import align_table
from .record import Conditions, Record

NAMES = {
    "rate": "tokens/s",
    "prefill_rate": "prefill tokens/s",
    "decode_rate": "decode tokens/s",
    "step_ms": "decode step ms",
}


def write_table(record: Record) -> str:
    """The conditions, the checks, the figures, the loads and the verdicts."""
    lines = [f"# {record.suite}", "", *(f"* {line}" for line in _conditions(record))]
    if record.cells:
        lines += ["", *_figures(record)]
    if ending := list(_ending(record)):
        lines += ["", *(f"* {line}" for line in ending)]
    return "\n".join(lines) + "\n"


def _conditions(record: Record) -> Iterator[str]:
    conditions = record.conditions
    yield ", ".join(f"{name} {value}" for name, value in record.parameters.items())
    source, ceilings = conditions.source, conditions.ceilings
    yield f"commit {source.commit} ({source.tree}), seed {conditions.seed}, {conditions.started:%F}"
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


def _figures(record: Record) -> list[str]:
    """A row per figure: its median, its spread, and how many times the least time it took."""
    rows = [
        (
            cell.contender,
            NAMES.get(cell.figure, cell.figure),
            f"{cell.median:,.1f}",
            f"{cell.spread:.0%}",
            "" if cell.floor is None else f"{cell.floor:,.1f}",
            "" if cell.over_floor is None else f"{cell.over_floor:.2f}",
        )
        for cell in record.cells
    ]
    return align_table(["contender", "figure", "median:", "spread:", "floor:", "times it:"], rows)


def _ending(record: Record) -> Iterator[str]:
    for gap in record.gaps:
        yield f"{gap.contender}: {gap.reason}"
    for ratio in record.ratios:
        rounds = f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"
        name = f"{ratio.above} / {ratio.below}"
        figure = NAMES.get(ratio.figure, ratio.figure)
        yield f"{name}, {figure}: {ratio.median:.2f}  ({rounds})"
    for load in record.loads:
        yield (
            f"load r{load.rank}, {load.num_bytes / 1e6:,.1f} MB: "
            f"{load.median_ms:.1f} ms, {load.gigabytes_s:.1f} GB/s"
        )
    yield from map(str, record.verdicts)
    if record.ratios and record.conditions.note:
        yield f"conditions: {record.conditions.note}"
