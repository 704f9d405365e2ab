"""Goals that a suite judges in its own run, each in one line."""

from dataclasses import dataclass

P6_MIXED = 2.2
P6_BASE = 1.0
P6_STRETCH = 0.85


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a goal was met; None = it could not be judged."""

    goal: str
    met: bool | None
    margin: str

    def __str__(self) -> str:
        word = {True: "met", False: "missed", None: "not judged"}[self.met]
        return f"{self.goal}: {word}  {self.margin}"


def judge_p6(*, mixed_to_peer: float | None, base_to_peer: float | None) -> Verdict:
    """Mixed at least 2.2 times what HF + PEFT does, and base at least what HF does.

    Args:
        mixed_to_peer: None if HF + PEFT did not run.
    """
    if mixed_to_peer is None or base_to_peer is None:
        return Verdict("P6", None, "HF + PEFT did not run")
    met = mixed_to_peer >= P6_MIXED and base_to_peer >= P6_BASE
    margin = (
        f"mixed {mixed_to_peer:.2f} x HF + PEFT's (goal {P6_MIXED:g}), "
        f"base {base_to_peer:.2f} x HF's (goal {P6_BASE:g})"
    )
    return Verdict("P6", met, margin)


def judge_p6_stretch(*, mixed_to_base: float, base_to_vllm: float | None) -> Verdict:
    """Mixed at least 85 % of the own base, and base at least vLLM's.

    Args:
        base_to_vllm: None if vLLM did not run; then the goal can be missed, but not met.
    """
    missed = mixed_to_base < P6_STRETCH
    margin = f"mixed {mixed_to_base:.2f} of the own base (goal {P6_STRETCH:g}), "
    if base_to_vllm is None:
        return Verdict("P6 stretch", False if missed else None, margin + "vLLM did not run")
    margin += f"base {base_to_vllm:.2f} x vLLM's (goal {P6_BASE:g})"
    return Verdict("P6 stretch", not missed and base_to_vllm >= P6_BASE, margin)
