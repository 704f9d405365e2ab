"""What the cases, the contenders and the figures of an engine are called."""

from .options import Part

STEP, GRAPH, FORWARD = "step", "graph", "forward"
"""A whole step by the wall clock; of it, on CUDA, the graph by events, and on a CPU the forward."""
PREFILL = "prefill"
VISIBLE, COPY, SHIFT = "visible", "copy", "step_p99"
"""From asking until a step may name it; of that, the copy; and the slowest steps beside copies."""
IDLE, QUIET, BESIDE = "idle", "quiet", "beside decodes"
SHARED = "1"
RATE, DRAFTED, RIGHT, DIFFERING = "rate", "drafts", "right_drafts", "differing"
"""Of a visit: new tokens per second, drafts, those that were right, and sequences whose tokens are
not those without drafts."""
PLAIN = "without drafts"


def decode_name(batch: int, context: int) -> str:
    return f"{Part.DECODE} {batch} x {context}"


def tax_name(batch: int, context: int) -> str:
    return f"{Part.TAX} {batch} x {context}"


def distinct_name(num: int, rank: int) -> str:
    return f"{num} distinct r{rank}"
