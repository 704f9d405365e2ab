"""A job's adapter on the worker's own copy of the base, as the engine would run it."""

from pathlib import Path

from weft.adapters.image import read_image
from weft.adapters.probe import ProbeResult, check_probe
from weft.adapters.sites import BaseFacts
from weft.adapters.weights import CheckedAdapter
from weft.kernels import Arena

from .model.evidence import collect_evidence
from .model.loader import LoadedModel


def probe_image(
    model: LoadedModel, facts: BaseFacts, adapter: CheckedAdapter, image: Path
) -> ProbeResult:
    """Run the probe's tokens through the base and through the adapter's image, and judge them.

    Raises:
        Refused: The image differs from the checked tensors, has no effect, or is not finite.
    """
    evidence = collect_evidence(model, load_arena(model, facts, image), 0)
    return check_probe(
        adapter,
        facts,
        evidence.captures,
        base_logits_TV=evidence.base_logits_TV,
        adapted_logits_TV=evidence.adapted_logits_TV,
    )


def load_arena(model: LoadedModel, facts: BaseFacts, path: Path) -> Arena:
    """An arena of one slot that holds the image."""
    image = read_image(path, facts)
    arena = Arena(
        image.num_elements,
        num_slots=1,
        num_slices=facts.num_slices,
        dtype=model.dtype,
        device=model.device,
        max_rank=int(image.rank.max()),
    )
    arena.data.copy_(image.data)
    arena.write_row(0, image.a_at, image.b_at, image.rank)
    return arena
