"""Outcomes as a generator notes them."""

from weft.bench.serving.outcome import OK, Delivery, Outcome


def served(
    due_s: float,
    *,
    first_ms: float = 100,
    gap_ms: float = 10,
    num_tokens: int = 3,
    tenant: int = 0,
    group: str = "",
    tier: str = "",
    load_ms: float = 0,
) -> Outcome:
    """A call that went well: a prompt of ten tokens, its first token late by `first_ms`."""
    times = [due_s + (first_ms + i * gap_ms) / 1000 for i in range(num_tokens)]
    return Outcome(
        group,
        tenant,
        None,
        due_s,
        10,
        num_tokens,
        sent_s=due_s,
        deliveries=[Delivery(at_s, 1) for at_s in times],
        ended_s=times[-1],
        code=OK,
        tier=tier,
        load_ms=load_ms,
    )


def refused(due_s: float, *, tenant: int = 0, code: str = "QUEUE_FULL") -> Outcome:
    return Outcome("", tenant, None, due_s, 10, 3, sent_s=due_s, ended_s=due_s, code=code)
