"""Log-probabilities of tokens in the raw distribution, and of its likeliest alternatives."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weft.server.channel import Sampling, TokenLogprobs

from .row import Row
from .transfer import Fetched, to_device


class Logprobs:
    """Those that the rows of a step ask for, found on the device and fetched."""

    def __init__(self, logits_BV: Tensor, rows: Sequence[Row]) -> None:
        """Take the raw distributions, before the logits are changed; some row must ask."""
        self._counts = {i: row.logprobs for i, row in enumerate(rows) if row.logprobs is not None}
        self._index_A = to_device(np.array(list(self._counts)), logits_BV.device)
        self._raw_AV = logits_BV[self._index_A].log_softmax(dim=-1)
        self._fetched: Fetched | None = None

    def fetch(self, token_B: Tensor) -> None:
        """Start to fetch what holds for these tokens."""
        chosen_A1 = self._raw_AV.gather(1, token_B[self._index_A, None])
        top = self._raw_AV.topk(max(self._counts.values()))
        self._fetched = Fetched(chosen_A1, top.values, top.indices)

    def read(self) -> dict[int, TokenLogprobs]:
        """Wait for them, and answer them by row."""
        assert self._fetched is not None
        chosen_A1, values_AK, tokens_AK = (column.tolist() for column in self._fetched.read())
        columns = zip(self._counts.items(), chosen_A1, tokens_AK, values_AK, strict=True)
        return {
            i: TokenLogprobs(chosen[0], tokens[:count], values[:count])
            for (i, count), chosen, tokens, values in columns
        }


@torch.inference_mode()
def describe(logits_RV: Tensor, tokens: Sequence[int], *, num: int) -> list[TokenLogprobs]:
    """Log-probabilities of given tokens, each with its `num` alternatives."""
    found = Logprobs(logits_RV, [Row(Sampling(), 0, num)] * len(tokens))
    found.fetch(to_device(np.array(tokens), logits_RV.device))
    return list(found.read().values())
