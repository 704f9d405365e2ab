"""The facts of a tiny model, made from its modules: what the server makes from a config."""

from pathlib import Path

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from weft.adapters.digest import digest_bytes
from weft.adapters.sites import BaseFacts, Member, Site

SITE_MEMBERS = {
    "self_attn.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.o": ("self_attn.o_proj",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down": ("mlp.down_proj",),
}


def meta_model(folder: Path) -> PreTrainedModel:
    """The model in `folder` with its shapes and without its weights."""
    with torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(
            AutoConfig.from_pretrained(folder)
        )
    return model


def tiny_facts(folder: Path, *, dtype: str = "float32") -> BaseFacts:
    """The facts of the model in `folder`; its digest stands for any base."""
    model = meta_model(folder)
    modules = {name: module for name, module in model.named_modules() if name}
    layers = [name for name, module in modules.items() if hasattr(module, "self_attn")]
    sites = tuple(
        _site(f"{layer}.{site}", [f"{layer}.{end}" for end in ends], modules)
        for layer in layers
        for site, ends in SITE_MEMBERS.items()
    )
    members = {member.name for site in sites for member in site.members}
    return BaseFacts(
        name="tiny",
        digest=digest_bytes(b"tiny"),
        sources=frozenset({"weft/tiny", "weft/tiny@main"}),
        dtype=dtype,
        sites=sites,
        other_modules={
            name: type(module).__name__ for name, module in modules.items() if name not in members
        },
        max_context=model.config.max_position_embeddings,
        vocab_size=model.config.vocab_size,
        tokenizer_digest="",
        template_digest=digest_bytes(b"template"),
    )


def _site(name: str, members: list[str], modules: dict[str, nn.Module]) -> Site:
    linears = {member: modules[member] for member in members}
    shapes = {
        m: (lin.in_features, lin.out_features)
        for m, lin in linears.items()
        if isinstance(lin, nn.Linear)
    }
    in_features = {shape[0] for shape in shapes.values()}
    assert len(in_features) == 1
    return Site(name, in_features.pop(), tuple(Member(m, shapes[m][1]) for m in members))
