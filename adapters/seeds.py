"""Independent random streams from one seed, by name, so that adding one does not shift another."""

import hashlib
import secrets

import torch

MAX_SEED = 2**31 - 1


def draw_seed() -> int:
    """Draw a seed for a run that was given none; the run stores it."""
    return secrets.randbelow(MAX_SEED + 1)


def stream_seed(seed: int, name: str) -> int:
    """Seed of the stream `name`."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")


def stream(seed: int, name: str) -> torch.Generator:
    """Make the generator of the stream `name`, on the CPU."""
    return torch.Generator().manual_seed(stream_seed(seed, name))
