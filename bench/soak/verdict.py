"""What must hold after a soak."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from weft.bench.record import Check

from .churn import Tally
from .watch import Rest

GROWTH_MIB = 48.0
"""Of a process' memory, from the second quarter of a soak to the last.

An engine on a CPU grows by hundreds of MiB at first: oneDNN keeps a primitive for every size of a
step that it has seen, up to 1,024 of them.
"""
MORE_FILES = 8


def check_soak(tally: Tally, rests: Sequence[Rest], log: str) -> list[Check]:
    """Tokens, the engine's books, files and memory; the first rest is left out as warm-up."""
    return [
        _tokens(tally),
        _books(rests, log),
        _files(rests),
        _memory(rests),
    ]


def _tokens(tally: Tally) -> Check:
    num = sum(tally.done.values())
    text = f"{num} acts, {tally.num_tokens} tokens compared"
    if tally.wrong:
        text = f"{len(tally.wrong)} of {num}: " + "; ".join(tally.wrong[:3])
    values = {"acts": num, "tokens": tally.num_tokens, "wrong": len(tally.wrong)}
    return Check("answers as to single requests", not tally.wrong, text, values)


def _books(rests: Sequence[Rest], log: str) -> Check:
    """An engine checks its books whenever it is idle, and a check that fails ends it."""
    busy = [rest.busy for rest in rests if rest.busy]
    restarts = sum(a.pids != b.pids for a, b in pairwise(rests))
    failed = log.count("AssertionError")
    text = f"idle {len(rests)} times with no sequence and no block in use, nothing restarted"
    if busy or restarts or failed:
        text = f"{len(busy)} times busy {busy[:1]}, {restarts} restarts, {failed} assertions"
    values = {"rests": len(rests), "busy": len(busy), "restarts": restarts, "failed": failed}
    return Check("the engine's books", not (busy or restarts or failed), text, values)


def _files(rests: Sequence[Rest]) -> Check:
    """Open files, and threads, at the end and after the first round."""
    first, last = rests[0].holdings, rests[-1].holdings
    more = {part: last[part].num_files - first[part].num_files for part in first}
    threads = {part: last[part].num_threads - first[part].num_threads for part in first}
    worst = max([*more.values(), *threads.values()])
    text = f"at most {worst} more files or threads in a process, limit {MORE_FILES}"
    return Check("files and threads", worst <= MORE_FILES, text, {"more": worst})


def _memory(rests: Sequence[Rest]) -> Check:
    """Medians of the second quarter and of the last, process by process."""
    quarter = max(1, len(rests) // 4)
    early, late = rests[quarter : 2 * quarter] or rests[:1], rests[-quarter:]
    growth = {
        part: median(rest.holdings[part].rss_mib for rest in late)
        - median(rest.holdings[part].rss_mib for rest in early)
        for part in rests[0].holdings
    }
    part = max(growth, key=lambda name: growth[name])
    text = f"at most {growth[part]:+.1f} MiB ({part}), limit {GROWTH_MIB:g}"
    values = {f"{name}_mib": round(value, 2) for name, value in growth.items()}
    return Check("memory", growth[part] <= GROWTH_MIB, text, values)
