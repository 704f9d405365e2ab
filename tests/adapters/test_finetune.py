"""The driver: what a run reports, saves, resumes and leaves behind."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import GenerationConfig

from weft.adapters.checkpoint import Checkpoint
from weft.adapters.errors import (
    ContentCorrupt,
    DatasetInvalid,
    LossNotFinite,
    OptionsInvalid,
    TrainingStopped,
    Unsupported,
)
from weft.adapters.finetune import (
    Checkpoints,
    Progress,
    Result,
    find_end_ids,
    finetune,
    finish,
    open_state,
    prune,
    train,
)
from weft.adapters.options import FinetuneOptions, LoraOptions
from weft.adapters.packing import MicroBatch
from weft.adapters.prepare import Plan, prepare
from weft.adapters.train_step import forward_model

from .chats import BASE_DIGEST, Tiny, load_tiny, orders, read_rows

TEMPLATE_DIGEST = "sha256:" + "7" * 64
OPTIONS = FinetuneOptions(
    lora=LoraOptions(rank=4, dropout=0.1),
    learning_rate=5e-3,
    seed=1,
    batch_tokens=128,
    max_steps=20,
    checkpoint_every=5,
    eval_fraction=0.1,
)


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Tiny:
    return load_tiny(tiny_llama)


@pytest.fixture(scope="module")
def plan(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return make_plan(tiny, tmp_path_factory.mktemp("rows"), OPTIONS)


def make_plan(tiny: Tiny, folder: Path, options: FinetuneOptions) -> Plan:
    rows = read_rows(folder / "rows.jsonl", orders(60))
    ends = find_end_ids(tiny.model.generation_config, tiny.tokenizer)
    prepared = prepare(rows, tiny.tokenizer, options, max_context=512, end_ids=ends)
    return prepared.require_plan()


def run(tiny: Tiny, plan: Plan, folder: Path, *, resume: Checkpoint | None = None) -> Result:
    with open_state(tiny.model, plan, resume=resume) as state:
        for _ in train(state):
            pass
        return finish(state, folder, base_digest=BASE_DIGEST, template_digest=TEMPLATE_DIGEST)


def take(steps: Iterator[Progress], num_steps: int) -> Progress:
    """Run some steps and drop the run, as a kill does."""
    return [next(steps) for _ in range(num_steps)][-1]


def test_training_lowers_loss_and_held_out_loss(tiny: Tiny, tmp_path: Path) -> None:
    seen: list[Progress] = []
    rows = read_rows(tmp_path / "rows.jsonl", orders(60))

    result = finetune(
        tiny.model, tiny.tokenizer, rows, OPTIONS, tmp_path, seen.append, base_digest=BASE_DIGEST
    )

    assert [p.step for p in seen] == list(range(1, 21))
    assert result.losses == tuple(p.loss for p in seen)
    assert result.eval_losses == tuple(
        (p.step, p.eval_loss) for p in seen if p.eval_loss is not None
    )
    assert [step for step, _ in result.eval_losses] == list(range(2, 21, 2))
    assert seen[-1].loss < seen[0].loss / 2
    assert result.eval_losses[-1][1] < result.eval_losses[0][1] / 2
    assert seen[-1].trained_tokens > 0 < seen[-1].masked_tokens
    assert seen[-1].eta_s == 0 < seen[0].eta_s
    assert 1 < seen[-1].epoch < OPTIONS.epochs


def test_saved_files_are_peft_layout_with_the_base_in_the_metadata(
    tiny: Tiny, plan: Plan, tmp_path: Path, tiny_llama: Path
) -> None:
    result = run(tiny, plan, tmp_path / "adapter")

    with safe_open(result.path / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "weft_base": BASE_DIGEST,
            "weft_template": TEMPLATE_DIGEST,
        }
    config = json.loads((result.path / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] is None
    assert config["target_modules"] == sorted(
        ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    )
    loaded = PeftModel.from_pretrained(load_tiny(tiny_llama).model, str(result.path))
    tensors = {
        name.replace(".default.", "."): tensor
        for name, tensor in loaded.state_dict().items()
        if "lora_" in name
    }
    saved = load_file(result.path / "adapter_model.safetensors")
    assert saved.keys() == tensors.keys()
    assert all(torch.equal(saved[name], tensors[name]) for name in saved)


def test_base_is_as_before_when_the_run_ends(tiny: Tiny, plan: Plan, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}

    run(tiny, plan, tmp_path)

    after = tiny.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not hasattr(tiny.model, "peft_config")


def test_killed_run_goes_on_bit_for_bit(tiny: Tiny, plan: Plan, tmp_path: Path) -> None:
    straight = run(tiny, plan, tmp_path / "straight")
    checkpoints = Checkpoints(tmp_path / "checkpoints", BASE_DIGEST)
    with open_state(tiny.model, plan) as state:
        saved = take(train(state, checkpoints=checkpoints), 10).checkpoint
    assert saved is not None
    assert saved.step == 10

    resumed = run(tiny, plan, tmp_path / "resumed", resume=saved)

    assert resumed.losses == straight.losses
    assert resumed.eval_losses == straight.eval_losses
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (resumed.path / name).read_bytes() == (straight.path / name).read_bytes()


def test_two_newest_checkpoints_are_kept(tiny: Tiny, plan: Plan, tmp_path: Path) -> None:
    with open_state(tiny.model, plan) as state:
        steps = train(state, checkpoints=Checkpoints(tmp_path, BASE_DIGEST))
        take(steps, 15)
    unrecorded = sorted(path.name for path in tmp_path.iterdir())
    prune(tmp_path)

    assert unrecorded == ["step-00000005", "step-00000010", "step-00000015"]
    assert sorted(path.name for path in tmp_path.iterdir()) == unrecorded[1:]


def test_stop_leaves_a_checkpoint_of_the_last_whole_step(
    tiny: Tiny, plan: Plan, tmp_path: Path
) -> None:
    stop = Event()
    with open_state(tiny.model, plan) as state:
        steps = train(state, checkpoints=Checkpoints(tmp_path, BASE_DIGEST), stop=stop)
        take(steps, 3)
        stop.set()
        with pytest.raises(TrainingStopped, match="after step 3 of 20"):
            next(steps)

    assert [path.name for path in tmp_path.iterdir()] == ["step-00000003"]


def test_stop_before_the_first_step_leaves_nothing(tiny: Tiny, plan: Plan, tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with open_state(tiny.model, plan) as state, pytest.raises(TrainingStopped):
        next(train(state, checkpoints=Checkpoints(tmp_path, BASE_DIGEST), stop=stop))

    assert list(tmp_path.iterdir()) == []


def test_checkpoint_of_another_run_is_refused(tiny: Tiny, plan: Plan, tmp_path: Path) -> None:
    with open_state(tiny.model, plan) as state:
        saved = take(train(state, checkpoints=Checkpoints(tmp_path, BASE_DIGEST)), 5).checkpoint
    other = replace(plan, options=replace(plan.options, learning_rate=1e-3))

    with (
        pytest.raises(ContentCorrupt, match="belongs to another run"),
        open_state(tiny.model, other, resume=saved),
    ):
        pass
    assert not hasattr(tiny.model, "peft_config")


def test_loss_that_is_not_finite_names_the_rows(tiny: Tiny, plan: Plan) -> None:
    def overflow(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        return forward_model(model, batch) * float("inf")

    with open_state(tiny.model, plan, forward=overflow) as state:
        with pytest.raises(LossNotFinite, match="step 1: loss nan") as caught:
            next(train(state))
        assert state.step == 0

    rows = {plan.train[i].row for i in plan.steps[0]}
    assert caught.value.metadata["rows"] == ",".join(map(str, sorted(rows)))


def test_packing_is_refused_where_rows_see_each_other(tiny: Tiny, plan: Plan) -> None:
    def leak(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        one_row = torch.arange(len(batch.ids_T))
        return forward_model(model, replace(batch, positions_T=one_row))

    asked = replace(plan, options=replace(plan.options, packing=True))
    with (
        pytest.raises(Unsupported, match="cannot separate rows"),
        open_state(tiny.model, asked, forward=leak),
    ):
        pass
    with open_state(tiny.model, plan, forward=leak) as state:
        assert not state.packed


def test_module_that_takes_no_adapter_is_refused(tiny: Tiny, plan: Plan) -> None:
    lora = replace(plan.options.lora, targets=("q_proj", "lm_head"))
    asked = replace(plan, options=replace(plan.options, lora=lora))

    with (
        pytest.raises(OptionsInvalid, match=r"TARGET_UNMATCHED at lora\.targets: 'lm_head'"),
        open_state(tiny.model, asked),
    ):
        pass


def test_rows_with_errors_are_refused_before_training(tiny: Tiny, tmp_path: Path) -> None:
    rows = read_rows(tmp_path / "rows.jsonl", orders(3))
    options = replace(OPTIONS, max_tokens=4)

    with pytest.raises(DatasetInvalid, match="3 errors in the data set, first: T303"):
        finetune(tiny.model, tiny.tokenizer, rows, options, tmp_path, fail, base_digest=BASE_DIGEST)


def fail(progress: Progress) -> None:
    pytest.fail(f"step {progress.step} ran")


def test_end_tokens_are_those_of_model_and_tokenizer(tiny: Tiny) -> None:
    end = tiny.tokenizer.eos_token_id
    assert isinstance(end, int)
    for given, ends in ((None, {end}), (7, {7, end}), ([7, 8], {7, 8, end})):
        generation = GenerationConfig(eos_token_id=given)
        assert find_end_ids(generation, tiny.tokenizer) == ends
    assert find_end_ids(None, tiny.tokenizer) == {end}
