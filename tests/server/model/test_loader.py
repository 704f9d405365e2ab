"""A loaded model runs steps, says what was changed in it, and can be given back as it was."""

import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.tiny import save_tiny_adapter, save_tiny_model
from weft.kernels import Site, group_rows
from weft.server.errors import ModelRefused
from weft.server.model.adapt import Swap, SwapReport
from weft.server.model.facts import base_facts
from weft.server.model.load_probe import logits_error
from weft.server.model.loader import LoadedModel, apply_swap, load_model
from weft.server.model.lora_linear import SiteLinear, SiteStep
from weft.server.model.product import can_pack

from .stepping import (
    Played,
    make_arena,
    make_batch,
    make_cache,
    open_model,
    play,
    random_tokens,
    stock_logits,
)

TABLE_BM = torch.arange(8, dtype=torch.int32).view(2, 4)


@pytest.fixture(scope="module")
def loaded(tiny_llama: Path) -> LoadedModel:
    return open_model(tiny_llama)


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_adapter(tiny_llama, tmp_path_factory.mktemp("adapter"))


def two_sequences(loaded: LoadedModel) -> list[Played]:
    return [Played(tokens) for tokens in random_tokens(loaded.facts, (9, 5))]


def whole_batch_logits(loaded: LoadedModel, logit_rows: Tensor) -> Tensor:
    batch = make_batch(two_sequences(loaded), [(0, 0, 9), (1, 0, 5)], TABLE_BM)
    chosen = type(batch)(
        batch.tokens_T,
        batch.positions_T,
        batch.cache_index_T,
        batch.indptr_B1,
        batch.kv_len_B,
        batch.block_table_BM,
        logit_rows,
    )
    return loaded.forward(chosen, make_cache(loaded, 8), None)


def test_logits_are_those_of_the_rows_asked_for(loaded: LoadedModel) -> None:
    every = whole_batch_logits(loaded, torch.arange(14))
    some = whole_batch_logits(loaded, torch.tensor([13, 8]))
    assert some.dtype == torch.float32
    torch.testing.assert_close(some, every[[13, 8]])
    assert whole_batch_logits(loaded, torch.empty(0, dtype=torch.int64)).shape == (
        0,
        loaded.facts.vocab_size,
    )


def test_swaps_are_reported(loaded: LoadedModel) -> None:
    packed = 9 if can_pack(torch.float32, torch.device("cpu")) else 0
    assert loaded.swaps == (
        SwapReport("merged_linear", made=4, skipped=0, undone=0),
        SwapReport("packed_linear", made=packed, skipped=9 - packed, undone=0),
        SwapReport("rmsnorm", made=5, skipped=0, undone=0),
        SwapReport("rope", made=2, skipped=0, undone=0),
    )


def test_swap_that_changes_the_logits_is_undone_and_said(tiny_llama: Path) -> None:
    loaded = open_model(tiny_llama)
    weight = loaded.sites[1].linears[0].weight
    loaded.sites[1].unpack()
    before = weight.data.clone()

    def make() -> None:
        weight.data[:, 0] += 1

    def undo() -> None:
        weight.data.copy_(before)

    tokens = random_tokens(loaded.facts, (12,))[0]
    report = apply_swap(Swap("broken", 3, 1, make, undo), loaded, tokens)
    assert report == SwapReport("broken", made=0, skipped=1, undone=3)
    assert torch.equal(weight, before)


def test_swap_that_keeps_the_logits_stays(loaded: LoadedModel) -> None:
    tokens = random_tokens(loaded.facts, (12,))[0]
    made: list[str] = []
    swap = Swap("kept", 2, 0, lambda: made.append("made"), lambda: made.append("undone"))
    assert apply_swap(swap, loaded, tokens) == SwapReport("kept", made=2, skipped=0, undone=0)
    assert made == ["made"]
    assert swap.skip() == SwapReport("kept", made=0, skipped=2, undone=0)


def test_restored_model_is_the_stock_model_bit_for_bit(tiny_llama: Path) -> None:
    loaded = open_model(tiny_llama)
    tokens = random_tokens(loaded.facts, (12,))[0]
    model = loaded.restore()
    with torch.inference_mode():
        logits = model(input_ids=tokens[None]).logits[0]
    assert torch.equal(logits, stock_logits(tiny_llama, tokens))


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_restored_model_has_the_stored_weights(tied: bool, tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path, tie_word_embeddings=tied)
    loaded = open_model(folder)
    sequences = two_sequences(loaded)
    expected = [stock_logits(folder, played.tokens) for played in sequences]
    for found, logits in zip(play(loaded, sequences), expected, strict=True):
        torch.testing.assert_close(found, logits, rtol=0, atol=1e-4)
    model = loaded.restore()
    stock = {name: value.clone() for name, value in model.state_dict().items()}
    again = open_model(folder).restore().state_dict()
    assert stock.keys() == again.keys()
    assert all(torch.equal(again[name], value) for name, value in stock.items())


def test_bf16_is_as_near_to_fp32_as_the_stock_model_in_bf16(
    tiny_llama: Path, adapter: Path
) -> None:
    loaded = open_model(tiny_llama, torch.bfloat16)
    tokens = random_tokens(loaded.facts, (20, 11))
    sequences = [Played(tokens[0], 0), Played(tokens[1])]
    arena = make_arena(loaded.facts, [adapter], torch.bfloat16)
    folders = [adapter, None]
    exact = [stock_logits(tiny_llama, t, a) for t, a in zip(tokens, folders, strict=True)]
    stock = [
        stock_logits(tiny_llama, t, a, torch.bfloat16) for t, a in zip(tokens, folders, strict=True)
    ]
    ours = logits_error(play(loaded, sequences, arena), exact)
    assert ours < 1.5 * logits_error(stock, exact)


def test_row_does_not_depend_on_its_batch(loaded: LoadedModel, adapter: Path) -> None:
    arena = make_arena(loaded.facts, [adapter], torch.float32)
    tokens = random_tokens(loaded.facts, (17, 23, 11))
    sequences = [Played(tokens[0], 0), Played(tokens[1]), Played(tokens[2], 0)]
    together = play(loaded, sequences, arena)
    backwards = play(loaded, sequences[::-1], arena)[::-1]
    for played, one, other in zip(sequences, together, backwards, strict=True):
        alone = play(loaded, [played], arena)[0]
        torch.testing.assert_close(one, alone, rtol=0, atol=1e-5)
        torch.testing.assert_close(other, alone, rtol=0, atol=1e-5)


def test_captured_input_and_delta_give_the_adapters_share(
    loaded: LoadedModel, adapter: Path
) -> None:
    arena = make_arena(loaded.facts, [adapter], torch.float32)
    batch = make_batch(two_sequences(loaded), [(0, 0, 9), (1, 0, 5)], TABLE_BM)
    inputs = loaded.capture_sites(batch, make_cache(loaded, 8))
    assert inputs.keys() == {site.name for site in loaded.facts.sites}
    name = "model.layers.0.self_attn.qkv"
    segments = group_rows(np.array([0] * 9 + [-1] * 5))
    delta_TN = loaded.site_delta(name, inputs[name], arena, segments)
    assert delta_TN.shape == (14, 128)
    assert delta_TN[:9, :64].abs().min() > 0
    assert not delta_TN[9:].any()
    assert not delta_TN[:, 64:96].any()  # k_proj is no target


def test_failed_step_leaves_nothing_behind(loaded: LoadedModel) -> None:
    sequences = two_sequences(loaded)
    expected = play(loaded, sequences)
    batch = make_batch(sequences, [(0, 0, 9), (1, 0, 5)], TABLE_BM)
    with pytest.raises(IndexError):
        loaded.forward(batch, make_cache(loaded, 1), None)
    assert all(map(torch.equal, play(loaded, sequences), expected))


def test_step_keeps_neither_arena_nor_outputs(tiny_llama: Path, adapter: Path) -> None:
    loaded = open_model(tiny_llama)
    arena = make_arena(loaded.facts, [adapter], torch.float32)
    alive = weakref.ref(arena)
    halves = [nn.Linear(64, 32), nn.Linear(64, 32)]
    half_taken = SiteLinear("half-taken", Site(64, (32, 32), 0), halves, SiteStep())
    loaded.sites.append(half_taken)
    x = torch.randn(1, 2, 64)
    half_taken.take(0, x)
    waiting = weakref.ref(x)
    del x
    assert waiting() is not None
    play(loaded, [Played(random_tokens(loaded.facts, (9,))[0], 0)], arena)
    del arena
    assert alive() is None
    assert waiting() is None


def test_two_models_of_a_family_run_side_by_side(loaded: LoadedModel, tmp_path: Path) -> None:
    sequences = two_sequences(loaded)
    expected = play(loaded, sequences)
    other = open_model(save_tiny_model("llama", tmp_path, seed=7))
    differing = play(other, sequences)
    assert all(map(torch.equal, play(loaded, sequences), expected))
    assert not torch.allclose(differing[0], expected[0])


def test_facts_of_another_model_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    other = save_tiny_model("llama", tmp_path, intermediate_size=96)
    facts = base_facts(other, name="base", dtype="float32", hash_cache=None)
    with pytest.raises(ModelRefused, match=r"shapes \[\(64, 128\), \(64, 128\)\]"):
        load_model(tiny_llama, facts=facts, device="cpu", dtype=torch.float32)
