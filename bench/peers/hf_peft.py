"""Hugging Face's `generate` with PEFT's `adapter_names`: several adapters in one batch."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.util import find_spec

import torch
from transformers import PreTrainedModel
from transformers.generation.utils import GenerateDecoderOnlyOutput

from weft.bench.ceilings import synchronize
from weft.bench.checks import ALTERNATIVES
from weft.bench.contest import Timing
from weft.bench.driver import Answer
from weft.bench.errors import PeerMissing
from weft.bench.loras import Lora
from weft.server.channel import TokenLogprobs

NAME = "hf-peft"
BASE = "__base__"


class HfPeft:
    """A model of its own with all adapters, kept in the dtype that they are stored in.

    Raises:
        PeerMissing: peft is not installed.
    """

    def __init__(self, model: PreTrainedModel, loras: Sequence[Lora]) -> None:
        if find_spec("peft") is None:
            raise PeerMissing(f"{NAME}: not installed")
        from peft import PeftModel

        first, *others = loras
        self._model = PeftModel.from_pretrained(
            model, str(first.files), adapter_name=first.name, autocast_adapter_dtype=False
        )
        for lora in others:
            self._model.load_adapter(str(lora.files), lora.name, autocast_adapter_dtype=False)
        self._model.eval()
        self._names = {lora.digest: lora.name for lora in loras}
        self.versions: dict[str, str] = {}

    @torch.inference_mode()
    def answer(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> list[Answer]:
        """Greedy tokens of every row, with log-probabilities; prompts have one length."""
        output = self._generate(prompts, digests, new_tokens, output_logits=True)
        tokens_BT = output.sequences[:, len(prompts[0]) :]
        assert output.logits is not None
        logprobs_BTV = torch.stack(output.logits, dim=1).float().log_softmax(dim=-1)
        drawn_BT = logprobs_BTV.gather(-1, tokens_BT[..., None])[..., 0]
        top = logprobs_BTV.topk(ALTERNATIVES)
        rows = zip(
            tokens_BT.tolist(),
            drawn_BT.tolist(),
            top.indices.tolist(),
            top.values.tolist(),
            strict=True,
        )
        return [Answer(row[0], list(map(TokenLogprobs, *row[1:]))) for row in rows]

    @torch.inference_mode()
    def time(
        self, prompts: Sequence[list[int]], digests: Sequence[str | None], *, new_tokens: int
    ) -> Timing:
        """Run a batch once; an end token means nothing."""
        began = time.perf_counter()
        self._generate(prompts, digests, new_tokens, output_logits=False)
        synchronize(self._model.device)
        return Timing(rate=len(prompts) * new_tokens / (time.perf_counter() - began))

    def _generate(
        self,
        prompts: Sequence[list[int]],
        digests: Sequence[str | None],
        new_tokens: int,
        *,
        output_logits: bool,
    ) -> GenerateDecoderOnlyOutput:
        ids_BT = torch.tensor(prompts, device=self._model.device)
        names = [BASE if digest is None else self._names[digest] for digest in digests]
        is_mixed = any(name != BASE for name in names)
        with nullcontext() if is_mixed else self._model.disable_adapter():
            output: GenerateDecoderOnlyOutput = self._model.generate(
                input_ids=ids_BT,
                attention_mask=torch.ones_like(ids_BT),
                max_new_tokens=new_tokens,
                min_new_tokens=new_tokens,
                do_sample=False,
                pad_token_id=0,
                return_dict_in_generate=True,
                output_logits=output_logits,
                **({"adapter_names": names} if is_mixed else {}),
            )
        return output
