"""One step against plain torch: its loss, its gradient, its schedule."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.tiny import save_tiny_model
from weft.adapters.errors import TrainingStopped
from weft.adapters.finetune import find_end_ids, open_state
from weft.adapters.options import FinetuneOptions, LoraOptions
from weft.adapters.packing import MicroBatch
from weft.adapters.prepare import Plan, prepare
from weft.adapters.template import Example
from weft.adapters.train_step import (
    TrainState,
    evaluate,
    forward_model,
    schedule_rate,
    separates_rows,
    train_step,
)

from .chats import Tiny, load_tiny, orders, read_rows

OPTIONS = FinetuneOptions(
    lora=LoraOptions(rank=4), learning_rate=1e-2, seed=3, max_tokens=64, warmup=0
)


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path) -> Tiny:
    return load_tiny(tiny_llama)


@pytest.fixture(scope="module")
def plan(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    rows = read_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", orders(12))
    ends = find_end_ids(tiny.model.generation_config, tiny.tokenizer)
    return prepare(rows, tiny.tokenizer, OPTIONS, max_context=512, end_ids=ends).require_plan()


def proceed() -> None:
    """Let every micro-batch run."""


def plain_loss(state: TrainState, examples: Sequence[Example]) -> torch.Tensor:
    """The definition: every row alone, labels shifted by hand, one mean over all trained tokens."""
    losses = []
    for example in examples:
        ids = torch.from_numpy(example.ids)
        logits = state.model(input_ids=ids[None]).logits[0, :-1]
        each = cross_entropy(logits, ids[1:], reduction="none")
        losses.append(each[torch.from_numpy(example.trained)[1:]])
    return torch.cat(losses).mean()


def take_step(tiny: Tiny, plan: Plan) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss of a first step on all examples, and its gradients."""
    with open_state(tiny.model, plan) as state:
        metrics = train_step(state, plan.train, check=proceed)
        return metrics.loss, gradients(state)


def gradients(state: TrainState) -> dict[str, torch.Tensor]:
    return {n: p.grad.clone() for n, p in state.tensors.items() if p.grad is not None}


def without_clipping(plan: Plan) -> Plan:
    return replace(plan, options=replace(plan.options, grad_clip=1e9))


def assert_same_gradients(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        error = (found[name] - expected[name]).norm()
        assert error <= 1e-5 * expected[name].norm() + 1e-12, name


@pytest.mark.parametrize("packing", [None, False])
def test_loss_and_gradient_are_those_of_plain_torch(
    tiny: Tiny, plan: Plan, packing: bool | None
) -> None:
    plan = without_clipping(plan)
    with open_state(tiny.model, plan) as state:
        expected = plain_loss(state, plan.train)
        expected.backward()  # type: ignore[no-untyped-call]
        expected_gradients = gradients(state)

    asked = replace(plan, options=replace(plan.options, packing=packing))
    loss, found = take_step(tiny, asked)

    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert_same_gradients(found, expected_gradients)


@pytest.mark.parametrize("family", ["qwen3", "gemma"])
def test_packed_loss_is_the_unpacked_one_in_other_families(family: str, tmp_path: Path) -> None:
    tiny = load_tiny(save_tiny_model(family, tmp_path / "model"))
    rows = read_rows(tmp_path / "rows.jsonl", orders(8))
    ends = find_end_ids(tiny.model.generation_config, tiny.tokenizer)
    prepared = prepare(rows, tiny.tokenizer, OPTIONS, max_context=512, end_ids=ends)
    plan = without_clipping(prepared.require_plan())
    alone = replace(plan, options=replace(plan.options, packing=False))

    loss, found = take_step(tiny, plan)
    expected_loss, expected = take_step(tiny, alone)

    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("capacity", [40, 64, 101, 4096])
def test_size_of_a_micro_batch_changes_nothing(tiny: Tiny, plan: Plan, capacity: int) -> None:
    plan = without_clipping(plan)
    expected_loss, expected = take_step(tiny, plan)

    loss, found = take_step(tiny, replace(plan, max_tokens=capacity))

    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert_same_gradients(found, expected)


def test_gradient_is_clipped_to_the_norm_asked_for(tiny: Tiny, plan: Plan) -> None:
    tight = replace(plan, options=replace(plan.options, grad_clip=1e-3))

    _, found = take_step(tiny, tight)

    norm = torch.cat([tensor.flatten() for tensor in found.values()]).norm()
    assert norm.item() == pytest.approx(1e-3, rel=1e-3)


def test_step_is_one_of_adamw(tiny: Tiny, plan: Plan) -> None:
    with open_state(tiny.model, plan) as state:
        before = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
        train_step(state, plan.train, check=proceed)
        moved = {name: tensor.detach() - before[name] for name, tensor in state.tensors.items()}
        grads = gradients(state)

    for name, change in moved.items():
        if grads[name].abs().min() > 1e-6:
            # AdamW's first step is the learning rate against the sign of the gradient
            assert torch.allclose(change, -1e-2 * grads[name].sign(), rtol=1e-2, atol=1e-6), name


def test_step_that_is_stopped_changes_nothing(tiny: Tiny, plan: Plan) -> None:
    calls = iter([False, True])

    def stop_at_second() -> None:
        if next(calls):
            raise TrainingStopped("stop")

    with open_state(tiny.model, plan) as state:
        before = {name: tensor.detach().clone() for name, tensor in state.tensors.items()}
        with pytest.raises(TrainingStopped):
            train_step(state, plan.train, check=stop_at_second)

        assert state.step == 0
        assert all(torch.equal(before[n], tensor) for n, tensor in state.tensors.items())


def test_held_out_loss_is_that_of_plain_torch_and_none_without_rows(tiny: Tiny, plan: Plan) -> None:
    with open_state(tiny.model, plan) as state, torch.no_grad():
        loss = evaluate(state, plan.train, check=proceed)
        assert loss == pytest.approx(plain_loss(state, plan.train).item(), rel=1e-6)
        assert evaluate(state, (), check=proceed) is None


def test_dropout_depends_on_seed_and_step_alone(tiny: Tiny, plan: Plan) -> None:
    lora = replace(plan.options.lora, dropout=0.5)
    plan = replace(plan, options=replace(plan.options, lora=lora))
    torch.manual_seed(0)
    first = take_second_step(tiny, plan)
    torch.manual_seed(99)
    before = torch.get_rng_state()

    assert take_second_step(tiny, plan) == first
    assert torch.equal(torch.get_rng_state(), before)
    assert take_second_step(tiny, replace(plan, seed=4)) != first


def take_second_step(tiny: Tiny, plan: Plan) -> float:
    with open_state(tiny.model, plan) as state:
        train_step(state, plan.train, check=proceed)
        return train_step(state, plan.train, check=proceed).loss


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", [0.5, 1.0, 1.0, 0.1 + 0.9 * 0.75, 0.1 + 0.9 * 0.25]),
        ("linear", [0.5, 1.0, 1.0, 2 / 3, 1 / 3]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_rate_rises_then_follows_its_schedule(
    plan: Plan, schedule: str, rates: list[float]
) -> None:
    options = replace(plan.options, learning_rate=1.0, warmup=0.4, schedule=schedule)  # type: ignore[arg-type]
    plan = replace(plan, options=options, steps=((0,),) * 5)

    assert [schedule_rate(plan, step) for step in range(5)] == pytest.approx(rates)


def test_rows_that_see_their_neighbours_are_noticed(tiny: Tiny) -> None:
    def leak(model: torch.nn.Module, batch: MicroBatch) -> torch.Tensor:
        return forward_model(model, replace(batch, positions_T=torch.arange(16)))

    device = torch.device("cpu")
    assert separates_rows(tiny.model, forward_model, device)
    assert not separates_rows(tiny.model, leak, device)
