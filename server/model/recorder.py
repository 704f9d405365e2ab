"""A dry run that records what every layer asks of attention: recorded, not parsed from a config."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from weft.server.errors import ModelRefused

from .attention import AttentionResult, register
from .kv_cache import AttentionLayer


class Recorder:
    """An attention function that notes its arguments and answers zeros."""

    def __init__(self) -> None:
        self.layers: list[AttentionLayer] = []
        self.name = register(self.attend)

    def attend(
        self,
        module: nn.Module,
        q_1HTD: Tensor,
        k_1GTD: Tensor,
        v_1GTD: Tensor,
        attention_mask: Tensor | None = None,
        *,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> AttentionResult:
        if attention_mask is not None:
            raise ModelRefused(
                f"gate 3 (calls): {type(module).__name__} passes a mask of "
                f"{tuple(attention_mask.shape)}"
            )
        index: object = getattr(module, "layer_idx", None)
        if not isinstance(index, int):
            raise ModelRefused(f"gate 3 (calls): {type(module).__name__} has layer_idx {index}")
        num_heads, num_rows, head_dim = q_1HTD.shape[1:]
        self.layers.append(
            AttentionLayer(
                index=index,
                num_heads=num_heads,
                num_kv_heads=k_1GTD.shape[1],
                head_dim=head_dim,
                v_head_dim=v_1GTD.shape[-1],
                scaling=head_dim**-0.5 if scaling is None else float(scaling),
                window=sliding_window,
                softcap=softcap,
                sinks=s_aux is not None,
            )
        )
        return q_1HTD.new_zeros(1, num_rows, num_heads, v_1GTD.shape[-1]), None


def record_layers(model: PreTrainedModel, tokens_T: Tensor) -> tuple[AttentionLayer, ...]:
    """Run the model once on a few tokens, in the form of a step.

    Raises:
        ModelRefused: By gate 3.
    """
    recorder = Recorder()
    model.set_attn_implementation(recorder.name)
    rows = torch.tensor([0, len(tokens_T) - 1], device=tokens_T.device)
    positions = torch.arange(len(tokens_T), device=tokens_T.device)
    logits = model(
        input_ids=tokens_T[None],
        position_ids=positions[None],
        use_cache=False,
        logits_to_keep=rows,
    ).logits
    if logits.shape[:2] != (1, 2):
        raise ModelRefused(f"gate 3 (calls): 2 rows of logits asked, {tuple(logits.shape)} given")
    return tuple(recorder.layers)
