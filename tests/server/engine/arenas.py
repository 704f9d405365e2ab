"""Arenas for tests, and all that their residency asks for done at once."""

from collections.abc import Sequence

from weft.server.engine.places import Copy, Fetch, Open, Park
from weft.server.engine.residency import Residency

FRONT = b"front"
ELEMENT_BYTES = 32  # so that runs start at multiples of 4 elements
SIZES = {"a": 4, "b": 8, "c": 5, "d": 16, "e": 1, "f": 2, "g": 16}
EQUAL = {f"equal {i}": 4 for i in range(40)}


def arena(num_elements: int, *, host_elements: int = 0, num_slots: int = 8) -> Residency:
    return Residency(
        num_elements,
        host_elements=host_elements,
        num_slots=num_slots,
        element_bytes=ELEMENT_BYTES,
    )


def park(residency: Residency, digest: str, running: list[str], *, now: float) -> None:
    """Have every sequence that runs on the adapter wait, as the scheduler would."""
    for _ in range(running.count(digest)):
        running.remove(digest)
        residency.set_aside(digest, now=now)


def obey(residency: Residency, *, now: float = 0.0, running: Sequence[str] = ()) -> list[str]:
    """Carry all commands out at once, as everybody would; answer what was copied."""
    copied = []
    residency.place(now)
    while commands := residency.take_commands():
        for command in commands:
            match command:
                case Fetch(digest=digest):
                    residency.ready(digest, f"/cache/{digest}")
                case Open(digest=digest):
                    residency.opened(digest, (SIZES | EQUAL)[digest])
                case Copy(digest=digest):
                    residency.copied(digest)
                    copied.append(digest)
                case Park(digest=digest):
                    assert isinstance(running, list)
                    park(residency, digest, running, now=now)
        residency.place(now)
        residency.check_integrity()
    return copied


def run(residency: Residency, digest: str) -> None:
    """Load an adapter and start a sequence on it."""
    residency.want(digest, FRONT, now=0.0)
    obey(residency)
    assert residency.acquire(digest, now=0.0) is not None
