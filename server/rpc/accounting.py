"""What is kept of a Generate call: its figures in the metrics, and one log line at its end."""

import logging
from types import TracebackType
from typing import Self

from weft.protos.v1 import types_pb2
from weft.server import metrics
from weft.server.errors import Cancelled

from .auth import Caller
from .generation import Generation, Outcome
from .status import row_of
from .targets import Target

logger = logging.getLogger("weft.request")

MAX_REFERENCE = 100
MODELS = metrics.ModelLabels(metrics.MAX_MODELS)


class Account:
    """Entered when a call begins; told what it turns out to be; closed when it is left."""

    def __init__(self, caller: Caller, *, request_id: str, model: str, peer: str) -> None:
        self._caller = caller
        self._peer = peer
        self._asked = model[:MAX_REFERENCE]
        self.request_id = request_id
        self.target: Target | None = None
        self.generation: Generation | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        outcome = self.generation.outcome if self.generation is not None else Outcome()
        total_s = self.generation.elapsed_s() if self.generation is not None else None
        reason = outcome.reason if error is None else _reason(error)
        self._count(outcome, reason, total_s)
        self._log(outcome, reason, total_s)

    def _count(self, outcome: Outcome, reason: str, total_s: float | None) -> None:
        """Count the call last: whoever sees it counted sees its figures as well."""
        model = ""
        if self.target is not None:
            model = MODELS.of(self.target.adapter or self.target.model)
        if total_s is not None:
            self._observe(model, outcome, total_s)
        metrics.REQUESTS.labels(self._caller.tenant, model, reason).inc()

    def _observe(self, model: str, outcome: Outcome, total_s: float) -> None:
        metrics.REQUEST_TIME.labels(model).observe(total_s)
        metrics.QUEUE_TIME.labels(model).observe(outcome.usage.queue_ms / 1000)
        for token_kind, count in (
            ("prompt", outcome.usage.prompt_tokens),
            ("cached", outcome.usage.cached_tokens),
            ("generated", outcome.generated_tokens),
        ):
            metrics.TOKENS.labels(model, token_kind).inc(count)
        if outcome.first_token_s is not None:
            metrics.FIRST_TOKEN_TIME.labels(model).observe(outcome.first_token_s)
        if (token_s := outcome.later_token_s()) is not None:
            metrics.OUTPUT_TOKEN_TIME.labels(model).observe(token_s)

    def _log(self, outcome: Outcome, reason: str, total_s: float | None) -> None:
        usage, target = outcome.usage, self.target
        fields = {
            "id": self.request_id,
            "tenant": self._caller.tenant,
            "model": target.model if target is not None else self._asked,
            "version": target.version if target is not None else None,
            "digest": target.digest if target is not None else None,
            "outcome": reason,
            "prompt": usage.prompt_tokens,
            "cached": usage.cached_tokens,
            "generated": outcome.generated_tokens,
            "queue_ms": round(usage.queue_ms, 1),
            "load_ms": round(usage.load_ms, 1),
            "ttft_ms": _milliseconds(outcome.first_token_s),
            "tpot_ms": _milliseconds(outcome.later_token_s()),
            "total_ms": _milliseconds(total_s),
            "tier": types_pb2.Tier.Name(usage.tier).removeprefix("TIER_").lower(),
            "peer": self._peer,
        }
        logger.info("request", extra={"fields": fields})


def _reason(error: BaseException) -> str:
    """The reason that the caller is told; whoever leaves a stream has cancelled it."""
    return row_of(error if isinstance(error, Exception) else Cancelled("")).reason


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
