"""Probes of adapters that are being published, each a step of its own between the others.

The uploaded files are checked, and the verdict is found, in a thread beside the steps; the engine's
thread only runs the model.
"""

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from weft.adapters.errors import Refused
from weft.adapters.probe import ProbeResult, check_probe
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, check_adapter
from weft.kernels import Arena
from weft.server.channel import FoundViolation, Probe, Probed
from weft.server.model.evidence import Evidence, collect_evidence
from weft.server.model.loader import LoadedModel

from .loader import stay_single
from .residency import Residency

logger = logging.getLogger(__name__)

Answer = Callable[[bytes, Probed], None]


@dataclass(slots=True, eq=False)
class Pending:
    """A probe under way; the verdict is being found once there is evidence."""

    peer: bytes
    request: Probe
    adapter: Future[CheckedAdapter]
    verdict: Future[ProbeResult] | None = None


class Probing:
    """Probes under way, in order of arrival; each waits for its adapter like a sequence."""

    def __init__(
        self,
        model: LoadedModel,
        facts: BaseFacts,
        *,
        arena: Arena,
        residency: Residency,
        max_rank: int,
        answer: Answer,
    ) -> None:
        self._model = model
        self._facts = facts
        self._arena = arena
        self._residency = residency
        self._limits = Limits(max_rank, max_file_bytes=sys.maxsize, arena_bytes=arena.data.nbytes)
        self._answer = answer
        self._pending: list[Pending] = []
        self._thread = ThreadPoolExecutor(1, "probe", initializer=stay_single)

    @property
    def is_busy(self) -> bool:
        return bool(self._pending)

    @property
    def num_waiting(self) -> int:
        """Probes that wait for their adapter's slot."""
        return sum(probe.verdict is None for probe in self._pending)

    def add(self, peer: bytes, request: Probe) -> None:
        """Start a probe of an image that lies on the local disk."""
        adapter = self._thread.submit(
            check_adapter,
            Path(request.config),
            Path(request.weights),
            self._facts,
            limits=self._limits,
            assert_base=True,
            allow_no_effect=request.allow_no_effect,
        )
        self._want(peer, request)
        self._pending.append(Pending(peer, request, adapter))

    def step(self) -> bool:
        """Answer what has been judged, and run at most one probe; True if one ran."""
        for probe in list(self._pending):
            if probe.verdict is not None and probe.verdict.done():
                self._close(probe, probe.verdict)
            elif probe.verdict is None and probe.adapter.done():
                if probe.adapter.exception() is not None:
                    self._residency.unwant(probe.request.digest)
                    self._close(probe, probe.adapter)
                elif self._run(probe):
                    return True
        return False

    def lose(self, digest: str) -> None:
        """The image has gone: it was of another publication of this content, which has ended.

        Each probe has an image of its own for as long as it runs.
        """
        for probe in [p for p in self._pending if p.request.digest == digest]:
            if probe.verdict is not None:
                continue
            self._residency.unwant(digest)
            if Path(probe.request.image).exists():
                self._want(probe.peer, probe.request)
            else:
                self._refuse(probe, _mismatch("the image is no longer on the local disk"))

    def _want(self, peer: bytes, request: Probe) -> None:
        self._residency.ready(request.digest, request.image)
        self._residency.want(request.digest, peer, now=time.monotonic())

    def fail(self, digest: str, message: str) -> None:
        """The image could not be loaded: refuse the probes that wait for it."""
        for probe in [p for p in self._pending if p.request.digest == digest]:
            if probe.verdict is None:
                self._residency.unwant(digest)
                self._refuse(probe, _mismatch(message))

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _run(self, probe: Pending) -> bool:
        """Run the probe if its adapter has a slot, and have the evidence judged."""
        digest = probe.request.digest
        slot = self._residency.acquire(digest, now=time.monotonic())
        if slot is None:
            return False
        evidence = self._try(slot, digest)
        self._residency.release(digest)
        if evidence is None:
            self._refuse(probe, _mismatch("the engine's step failed"))
            return True
        probe.verdict = self._thread.submit(
            check_probe,
            probe.adapter.result(),
            self._facts,
            evidence.captures,
            base_logits_TV=evidence.base_logits_TV,
            adapted_logits_TV=evidence.adapted_logits_TV,
            allow_no_effect=probe.request.allow_no_effect,
        )
        return True

    def _try(self, slot: int, digest: str) -> Evidence | None:
        try:
            return collect_evidence(self._model, self._arena, slot)
        except torch.AcceleratorError:
            raise  # the device is lost to this process
        except Exception:
            logger.exception("the probe of %s failed", digest)
            return None

    def _close(self, probe: Pending, future: Future[CheckedAdapter] | Future[ProbeResult]) -> None:
        """Answer with what a future of the probe came to."""
        error = future.exception()
        if isinstance(error, Refused):
            found = [FoundViolation(v.code, v.path, v.found, v.expected) for v in error.violations]
            self._refuse(probe, *found)
        elif error is not None:
            logger.error("the probe of %s failed", probe.request.digest, exc_info=error)
            self._refuse(probe, _mismatch("the adapter could not be compared"))
        else:
            result = future.result()
            assert isinstance(result, ProbeResult)
            self._pending.remove(probe)
            self._answer(
                probe.peer,
                Probed(probe.request.probe, [], result.largest_error, result.logit_change),
            )

    def _refuse(self, probe: Pending, *violations: FoundViolation) -> None:
        self._pending.remove(probe)
        self._residency.forget(probe.request.digest)
        self._answer(probe.peer, Probed(probe.request.probe, list(violations)))


def _mismatch(found: str) -> FoundViolation:
    return FoundViolation("PROBE_MISMATCH", "", found, "an adapter that the engine can run")
