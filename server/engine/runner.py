"""Runs plans on the device: laid out anew or by a captured graph, then drawn from."""

from typing import NamedTuple

from torch import Tensor

from weft.kernels import Arena
from weft.server.model.kv_cache import KVCache
from weft.server.model.loader import LoadedModel

from .batch import build_batch
from .beams import Candidate
from .continuations import best_continuations, part_logits
from .delivery import Delivery
from .graphs import StepGraphs
from .plan import Plan
from .row import rows_of
from .sampler import Draws, draw


class Flight(NamedTuple):
    """A step that was launched at `since` and whose draws the host has not read.

    Attributes:
        continued: The best continuations of the plan's searches.
    """

    plan: Plan
    draws: Draws
    since: float
    continued: list[list[Candidate]]


class Runner:
    """Launches steps; on a GPU without waiting for them.

    Attributes:
        graphs: For the steps that they take; None = every step is laid out anew.
    """

    def __init__(
        self,
        model: LoadedModel,
        cache: KVCache,
        arena: Arena,
        *,
        graphs: StepGraphs | None,
        delivery: Delivery,
    ) -> None:
        self.graphs = graphs
        self._model = model
        self._cache = cache
        self._arena = arena
        self._delivery = delivery

    def launch(self, plan: Plan, *, after: Flight | None, now: float) -> Flight:
        """Run the model on the plan, draw for every sequence that is due, and look for what the
        beams of others go on by, which waits for the device.

        Args:
            after: The step in flight, whose draws are the plan's tokens where it follows one.
        """
        if copies := plan.copies(self._cache.block_tokens):
            self._cache.copy_blocks(copies)
        drawn_B = after.draws.token_B if after is not None and plan.follows else None
        if self.graphs is not None and self.graphs.takes(plan):
            logits_BV = self.graphs.run(plan, drawn_B)
        else:
            logits_BV = self._delivery.tell_prompts(plan, self._forward(plan, drawn_B))
        rows = [row for chunk in plan.chunks if chunk.draws for row in rows_of(chunk)]
        searching = plan.searching
        if not searching:
            return Flight(plan, draw(logits_BV, rows), now, [])
        logits_BV, beams_RV = part_logits(logits_BV, plan)
        draws = draw(logits_BV, rows)
        return Flight(plan, draws, now, best_continuations(beams_RV, searching))

    def _forward(self, plan: Plan, drawn_B: Tensor | None) -> Tensor:
        tokens = self._cache.block_tokens
        batch = build_batch(plan, drawn_B, block_tokens=tokens, device=self._model.device)
        return self._model.forward(batch, self._cache, self._arena)
