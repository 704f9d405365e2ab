"""A Llama of a given shape with random weights, built on its device, and its facts."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from weft.adapters.digest import Json, canonical_json, digest_bytes
from weft.adapters.sites import BaseFacts
from weft.server.model.facts import find_sites, output_linear

from .floors import BaseCost
from .shapes import Shape

STD = 0.02


def build_model(
    shape: Shape,
    *,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
    attention: str,
    std: float = STD,
) -> PreTrainedModel:
    """Build the model where it will run; equal seeds give equal weights on one kind of device.

    Args:
        attention: Transformers' name of the attention function.
    """
    torch.manual_seed(seed)
    with torch.device(device):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            make_config(shape, std=std), dtype=dtype, attn_implementation=attention
        )
    model.eval().requires_grad_(False)
    return model


def save_base(model: PreTrainedModel, shape: Shape, folder: Path) -> None:
    """Save the model, and a tokenizer that names every token by its number."""
    model.save_pretrained(folder)
    words = {f"t{i}": i for i in range(shape.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def make_config(shape: Shape, *, std: float = STD) -> PretrainedConfig:
    return AutoConfig.for_model(
        "llama",
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        vocab_size=shape.vocab_size,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=shape.max_context,
        rope_parameters=dict(shape.rope),
        initializer_range=std,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


def describe(model: PreTrainedModel, shape: Shape, *, seed: int) -> BaseFacts:
    """Make the facts of a model that is stored nowhere: its recipe stands for its bytes."""
    sites = tuple(find_sites(model))
    members = {member.name for site in sites for member in site.members}
    dtype = str(model.dtype).removeprefix("torch.")
    recipe: dict[str, Json] = {"shape": shape.name, "seed": seed, "std": STD, "dtype": dtype}
    return BaseFacts(
        name=f"llama-{shape.name}",
        digest=digest_bytes(canonical_json(recipe)),
        sources=frozenset({f"llama-{shape.name}"}),
        dtype=dtype,
        sites=sites,
        other_modules={
            path: type(module).__name__
            for path, module in model.named_modules()
            if path and path not in members
        },
        max_context=shape.max_context,
        vocab_size=output_linear(model).out_features,
        tokenizer_digest="",
        template_digest="",
    )


def cost_of(model: PreTrainedModel, shape: Shape) -> BaseCost:
    """What a step of the model must read and multiply at least."""
    head = output_linear(model)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
    head_dim = shape.hidden_size // shape.num_heads
    looked_up = 0 if shape.tied else shape.vocab_size * shape.hidden_size * model.dtype.itemsize
    return BaseCost(
        weight_bytes=sum(p.nbytes for p in model.parameters()) - looked_up,
        linear_weights=sum(linear.weight.numel() for linear in linears),
        head_weights=head.weight.numel(),
        kv_token_bytes=2 * shape.num_layers * shape.num_kv_heads * head_dim * model.dtype.itemsize,
        attention_flops=4 * shape.num_layers * shape.num_heads * head_dim,
    )
