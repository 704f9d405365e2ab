"""A record as a person reads it: Markdown, of which the terminal gets at most 40 lines."""

from collections.abc import Iterator

from .engine.table import list_drafts, summarise_engine
from .floors import Ceilings
from .kernel_table import list_cases, summarise_kernels
from .machine import ABSENT
from .markdown import align_table
from .record import Conditions, Record
from .serving.table import summarise_serving

ENGINE = "engine"
KERNELS = "kernels"
SERVING = "serving"
NAMES = {
    "rate": "tokens/s",
    "prefill_rate": "prefill tokens/s",
    "decode_rate": "decode tokens/s",
    "step_ms": "decode step ms",
    "ttft_p50": "TTFT p50",
    "ttft_p99": "TTFT p99",
    "itl_p50": "ITL p50",
    "itl_p99": "ITL p99",
}


DIGITS = {"perplexity": 4}


def write_table(record: Record) -> str:
    """The summary, and behind it every case of a suite that has many."""
    text = write_summary(record)
    if is_of_kernels(record) and record.cells:
        text += "\n".join(["", *list_cases(record), ""])
    if is_of_engine(record) and (drafts := list_drafts(record)):
        text += "\n".join(["", *drafts, ""])
    return text


def write_summary(record: Record) -> str:
    """The conditions, the checks, the figures, the loads and the verdicts."""
    part = f" {record.part}" if record.part else ""
    lines = [f"# {record.suite}{part}", "", *(f"* {line}" for line in _conditions(record))]
    if is_of_kernels(record):
        lines += summarise_kernels(record)
    elif _is_of_serving(record):
        lines += summarise_serving(record)
    elif is_of_engine(record):
        lines += summarise_engine(record)
    elif record.cells:
        lines += ["", *_figures(record)]
    if ending := list(_ending(record)):
        lines += ["", *(f"* {line}" for line in ending)]
    return "\n".join(lines) + "\n"


def is_of_kernels(record: Record) -> bool:
    """Whether a record has cases of kernels, and so a summary of its own."""
    return record.suite.startswith(KERNELS)


def is_of_engine(record: Record) -> bool:
    """Whether a record has the parts of an engine, and not batches as older ones have."""
    return record.suite.startswith(ENGINE) and "parts" in record.parameters


def _is_of_serving(record: Record) -> bool:
    return record.suite.startswith(SERVING)


def _conditions(record: Record) -> Iterator[str]:
    conditions = record.conditions
    source, ceilings = conditions.source, conditions.ceilings
    yield f"commit {source.commit} ({source.tree}), seed {conditions.seed}, {conditions.started:%F}"
    yield ", ".join(f"{name} {value}" for name, value in record.parameters.items())
    versions = (
        f"{name} {version}" for name, version in conditions.versions.items() if version != ABSENT
    )
    yield "; ".join([_hardware(conditions), ", ".join(versions)])
    flags = ceilings.flags() if "gpu" in conditions.hardware else []
    yield "; ".join([_ceilings(ceilings), *flags])
    if record.num_left:
        yield f"out of time: {record.num_left} cases left"
    yield from map(str, record.checks)


def _ceilings(ceilings: Ceilings) -> str:
    text = (
        f"ceilings: copy {ceilings.copy_bytes_s / 1e9:,.1f} GB/s, "
        f"product {ceilings.matmul_flops_s / 1e12:,.2f} TFLOP/s"
    )
    if ceilings.read_bytes_s is not None:
        text += f", read {ceilings.read_bytes_s / 1e9:,.1f} GB/s (the floors use it)"
    if ceilings.host_copy_bytes_s is not None:
        text += f", host to device {ceilings.host_copy_bytes_s / 1e9:,.1f} GB/s"
    if ceilings.launches_us:
        launches = " ".join(f"{launch:.1f}" for launch in ceilings.launches_us)
        text += f", 1 to {len(ceilings.launches_us)} empty kernels {launches} µs"
    return text


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
            f"{cell.median:,.{DIGITS.get(cell.figure, 1)}f}",
            f"{cell.spread:.0%}",
            "" if cell.floor is None else f"{cell.floor:,.1f}",
            "" if cell.over_floor is None else f"{cell.over_floor:.2f}",
        )
        for cell in record.cells
    ]
    return align_table(["contender", "figure", "median:", "spread:", "floor:", "times it:"], rows)


def _ending(record: Record) -> Iterator[str]:
    if _is_of_serving(record):
        yield from _ratios(record)
    elif not is_of_kernels(record):
        yield from _gaps(record)
        if not is_of_engine(record):
            yield from _ratios(record)
    for load in record.loads:
        yield (
            f"load r{load.rank}, {load.num_bytes / 1e6:,.1f} MB: "
            f"{load.median_ms:.1f} ms, {load.gigabytes_s:.1f} GB/s"
        )
    yield from map(str, record.verdicts)
    if record.ratios and record.conditions.note:
        yield f"conditions: {record.conditions.note}"


def _gaps(record: Record) -> Iterator[str]:
    """A line per reason, with everybody that it is of."""
    by_reason: dict[str, list[str]] = {}
    for gap in record.gaps:
        by_reason.setdefault(gap.reason, []).append(f"{gap.case} {gap.contender}".lstrip())
    yield from (f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def _ratios(record: Record) -> Iterator[str]:
    for ratio in record.ratios:
        rounds = f"{min(ratio.rounds):.2f} to {max(ratio.rounds):.2f}"
        name = f"{ratio.above} / {ratio.below}"
        figure = NAMES.get(ratio.figure, ratio.figure)
        yield f"{name}, {figure}: {ratio.median:.2f}  ({rounds})"
