"""Facts name every place that can take an adapter, and nothing twice."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from tests.tiny import save_tiny_model
from weft.adapters.sites import Member
from weft.server.errors import ModelRefused
from weft.server.model.facts import base_facts, find_sites
from weft.server.model.gates import open_architecture


def test_llama_has_four_sites_a_layer(tiny_llama: Path) -> None:
    facts = base_facts(tiny_llama, name="base", dtype="float32", hash_cache=None)
    layer = "model.layers.0"
    assert [site.name for site in facts.sites[:4]] == [
        f"{layer}.self_attn.qkv",
        f"{layer}.self_attn.o_proj",
        f"{layer}.mlp.gate_up",
        f"{layer}.mlp.down_proj",
    ]
    assert len(facts.sites) == 8
    assert facts.num_slices == 14
    assert facts.sites[0].in_features == 64
    assert facts.sites[0].members == (
        Member(f"{layer}.self_attn.q_proj", 64),
        Member(f"{layer}.self_attn.k_proj", 32),
        Member(f"{layer}.self_attn.v_proj", 32),
    )


def test_every_module_is_a_member_or_named_with_its_class(tiny_llama: Path) -> None:
    facts = base_facts(tiny_llama, name="base", dtype="float32", hash_cache=None)
    members = {member.name for site in facts.sites for member in site.members}
    modules = dict(AutoModelForCausalLM.from_pretrained(tiny_llama).named_modules())
    assert members | facts.other_modules.keys() == modules.keys() - {""}
    assert members.isdisjoint(facts.other_modules)
    assert facts.other_modules["lm_head"] == "Linear"
    assert facts.other_modules["model.embed_tokens"] == "Embedding"


def test_facts_carry_the_limits_of_the_config(tiny_llama: Path) -> None:
    facts = base_facts(tiny_llama, name="base", dtype="bfloat16", hash_cache=None)
    assert facts.max_context == 512
    assert facts.vocab_size == AutoModelForCausalLM.from_pretrained(tiny_llama).config.vocab_size
    assert facts.dtype == "bfloat16"
    assert {"base", str(tiny_llama)} <= facts.sources
    assert facts.tokenizer_digest.startswith("sha256:")
    assert facts.template_digest.startswith("sha256:")


class Quantised(nn.Linear):
    """A subclass whose weight is not what a plain product expects."""


@pytest.mark.parametrize(
    "odd",
    [Quantised(64, 32, bias=False), nn.Linear(64, 32), nn.Linear(32, 32, bias=False)],
    ids=["subclass", "bias", "another-input"],
)
def test_siblings_that_differ_are_not_merged(odd: nn.Linear, tiny_llama: Path) -> None:
    _, model = open_architecture(tiny_llama)
    model.set_submodule("model.layers.0.self_attn.k_proj", odd)
    first = [site for site in find_sites(model) if "layers.0.self_attn" in site.name]
    assert all(len(site.members) == 1 for site in first)
    found = {site.name.rpartition(".")[2] for site in first}
    assert ("k_proj" in found) == (type(odd) is nn.Linear)
    assert {"q_proj", "v_proj", "o_proj"} <= found


def test_merged_projection_of_a_family_is_a_site_of_one(tmp_path: Path) -> None:
    folder = save_tiny_model("phi3", tmp_path)
    facts = base_facts(folder, name="base", dtype="float32", hash_cache=None)
    names = {site.members[0].name for site in facts.sites if "layers.0" in site.name}
    assert {"model.layers.0.self_attn.qkv_proj", "model.layers.0.mlp.gate_up_proj"} <= names


def test_facts_need_no_memory_for_weights(tiny_llama: Path) -> None:
    _, model = open_architecture(tiny_llama)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match="cannot open"):
        base_facts(tmp_path, name="base", dtype="float32", hash_cache=None)


def test_weights_decide_the_digest_and_dtype_does_not(tmp_path: Path) -> None:
    one = save_tiny_model("llama", tmp_path / "one", seed=1)
    two = save_tiny_model("llama", tmp_path / "two", seed=2)
    digests = [
        base_facts(folder, name="base", dtype=dtype, hash_cache=None).digest
        for folder, dtype in [(one, "float32"), (one, "bfloat16"), (two, "float32")]
    ]
    assert digests[0] == digests[1] != digests[2]
    assert torch.get_default_dtype() == torch.float32
