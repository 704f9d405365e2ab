"""The facts of a base model, made from its folder without loading its weights."""

from collections.abc import Iterator
from pathlib import Path

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from weft.adapters.sites import BaseFacts, Member, Site
from weft.server.errors import ModelRefused

from .checkpoint import digest_checkpoint, digest_template, digest_tokenizer, resolve_model
from .gates import open_architecture

MERGED = {"qkv": ("q_proj", "k_proj", "v_proj"), "gate_up": ("gate_proj", "up_proj")}
"""Linears that share their input by convention: name of their site → names of the siblings."""
SIBLING_NAMES = frozenset(name for names in MERGED.values() for name in names)


def base_facts(
    model: str | Path,
    *,
    name: str,
    dtype: str,
    hash_cache: Path | None,
    quantisation: str | None = None,
) -> BaseFacts:
    """Describe a base model for those who judge adapters by it.

    Args:
        model: A directory or a hub id.
        name: The served name.
        dtype: Serving dtype.
        hash_cache: JSON file that keeps the tensors' digests between starts.
        quantisation: Form of the sites' weights while serving; None = they stay in `dtype`.

    Raises:
        ModelRefused: The folder is no checkpoint, or gate 1 or 2 refuses it.
    """
    folder = resolve_model(str(model))
    config, skeleton = open_architecture(folder)
    sites = tuple(find_sites(skeleton))
    members = {member.name for site in sites for member in site.members}
    return BaseFacts(
        name=name,
        digest=digest_checkpoint(folder, hash_cache=hash_cache),
        sources=frozenset({name, str(model), str(folder)}),
        dtype=dtype,
        sites=sites,
        other_modules={
            path: type(module).__name__
            for path, module in skeleton.named_modules()
            if path and path not in members
        },
        max_context=_max_context(config),
        vocab_size=output_linear(skeleton).out_features,
        tokenizer_digest=digest_tokenizer(folder),
        template_digest=digest_template(folder),
        quantisation=quantisation,
    )


def find_sites(model: PreTrainedModel) -> Iterator[Site]:
    """Find every place that can take an adapter, in the order of the modules.

    Siblings that share their input are one site when each is exactly an `nn.Linear` and all or
    none have a bias: a subclass (a quantised Linear) computes something else from its weight.
    """
    output = output_linear(model)
    for path, parent in model.named_modules():
        linears = {
            name: child
            for name, child in parent.named_children()
            if type(child) is nn.Linear and child is not output
        }
        for kind, names in MERGED.items():
            if siblings := _siblings(linears, names):
                yield _site(_join(path, kind), path, siblings)
                linears = {name: child for name, child in linears.items() if name not in names}
        for name, linear in linears.items():
            yield _site(_join(path, name), path, {name: linear})


def output_linear(model: PreTrainedModel) -> nn.Linear:
    """The module that turns hidden states into logits: no site."""
    output = model.get_output_embeddings()
    if not isinstance(output, nn.Linear):
        raise ModelRefused(
            f"gate 2 (class): output embeddings of {type(model).__name__} are "
            f"{type(output).__name__}, not Linear"
        )
    return output


def _siblings(linears: dict[str, nn.Linear], names: tuple[str, ...]) -> dict[str, nn.Linear] | None:
    if not linears.keys() >= set(names):
        return None
    siblings = {name: linears[name] for name in names}
    inputs = {linear.in_features for linear in siblings.values()}
    biases = {linear.bias is None for linear in siblings.values()}
    return siblings if len(inputs) == len(biases) == 1 else None


def _site(name: str, parent: str, linears: dict[str, nn.Linear]) -> Site:
    members = tuple(Member(_join(parent, child), ln.out_features) for child, ln in linears.items())
    return Site(name, next(iter(linears.values())).in_features, members)


def _join(parent: str, child: str) -> str:
    return f"{parent}.{child}" if parent else child


def _max_context(config: PretrainedConfig) -> int:
    positions = getattr(config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(positions, int):
        raise ModelRefused(
            f"gate 1 (config): max_position_embeddings is {positions}; expected a number of tokens"
        )
    return positions
