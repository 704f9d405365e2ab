"""Specs of jobs: every field of the wire is served, or refused by name, and comes back."""

from collections.abc import Iterator

import pytest
from google._upb import _message
from google.protobuf.descriptor import Descriptor

from weft.adapters.errors import Unsupported
from weft.adapters.job_records import JobClass, PublishPolicy
from weft.adapters.options import read_options
from weft.adapters.records import AliasMove
from weft.protos.v1 import jobs_pb2, types_pb2
from weft.server.errors import RequestInvalid
from weft.server.rpc.job_specs import ENUMS, FIELDS, LORA, OFF, UNSERVED, read_spec, spec_message

BASE = "sha256:" + "0" * 64
POLICY = jobs_pb2.PublishPolicy(adapter="support")
SIMPLE = jobs_pb2.JobSpec(train=["datasets/a"], publish=POLICY)
WHOLE = jobs_pb2.JobSpec(
    display_name="returns",
    labels={"team": "a"},
    base=BASE,
    train=["datasets/a"],
    eval=["datasets/b"],
    eval_fraction=0.25,
    sft=jobs_pb2.SftMethod(loss=jobs_pb2.LOSS_ALL),
    lora=jobs_pb2.LoraOptions(
        rank=8,
        alpha=4.5,
        rslora=True,
        targets=["attention"],
        rank_pattern={"q_proj": 2},
        alpha_pattern={"q_proj": 3.5},
        dropout=0.125,
    ),
    data=jobs_pb2.DataOptions(
        max_tokens=128, truncate=jobs_pb2.TRUNCATION_ERROR, packing=False, drop_masked=True
    ),
    optimisation=jobs_pb2.Optimisation(
        learning_rate=0.5,
        schedule=jobs_pb2.LEARNING_RATE_SCHEDULE_LINEAR,
        warmup=0.25,
        batch_tokens=512,
        weight_decay=0.125,
        grad_clip=2.0,
        seed=0,
    ),
    limits=jobs_pb2.Limits(epochs=2.5, max_steps=7),
    checkpoints=jobs_pb2.CheckpointOptions(every_steps=3),
    evaluation=jobs_pb2.EvaluationOptions(every_steps=2),
    publish=jobs_pb2.PublishPolicy(
        mode=jobs_pb2.PUBLISH_MODE_ON_SUCCESS,
        adapter="support",
        aliases=[types_pb2.AliasMove(alias="prod", expected_generation=0)],
        no_latest=True,
        labels={"run": "1"},
    ),
    schedule=jobs_pb2.Schedule(priority=types_pb2.PRIORITY_HIGH),
)
TAKEN_BY_NAME = {
    "display_name",
    "labels",
    "base",
    "train",
    "eval",
    "lora.targets",
    "lora.rank_pattern",
    "lora.alpha_pattern",
    "publish.adapter",
    "publish.aliases",
    "publish.no_latest",
    "publish.labels",
    "schedule.priority",
}


def changed(**fields: object) -> jobs_pb2.JobSpec:
    spec = jobs_pb2.JobSpec()
    spec.CopyFrom(SIMPLE)
    spec.MergeFrom(jobs_pb2.JobSpec(**fields))  # type: ignore[arg-type]
    return spec


def leaves(message: _message.Descriptor | Descriptor, prefix: str = "") -> Iterator[str]:
    """Paths of all fields, down to those that hold a value or a list."""
    for field in message.fields:
        path = prefix + field.name
        if field.message_type is not None and not field.is_repeated:
            yield from leaves(field.message_type, f"{path}.")
        else:
            yield path


def test_no_field_of_a_spec_is_ignored() -> None:
    served = {*FIELDS.values(), *(path for path, _, _ in ENUMS.values()), *TAKEN_BY_NAME}
    served |= {f"lora.{name}" for name in LORA}
    known = {*served, *OFF, *UNSERVED}
    ignored = [
        path
        for path in leaves(jobs_pb2.JobSpec.DESCRIPTOR)
        if not any(path == name or path.startswith(f"{name}.") for name in known)
    ]
    assert ignored == []


def test_a_spec_with_every_served_field_comes_back_as_it_was() -> None:
    spec = read_spec(WHOLE, base_digest=BASE)
    assert spec_message(spec, spec.options) == WHOLE


def test_the_training_code_knows_every_option() -> None:
    options = read_options(read_spec(WHOLE, base_digest=BASE).options)
    assert (options.lora.rank, options.lora.alpha, options.lora.targets) == (8, 4.5, ("attention",))
    assert (options.learning_rate, options.schedule, options.seed) == (0.5, "linear", 0)
    assert (options.packing, options.loss, options.truncate) == (False, "all", "error")


def test_resolved_options_can_all_be_written() -> None:
    resolved = read_options({"seed": 7, "batch_tokens": 64, "max_tokens": 32}).to_json()
    message = spec_message(read_spec(SIMPLE, base_digest=BASE), resolved)
    assert message.optimisation.learning_rate == 2e-4
    assert (message.lora.rank, message.optimisation.seed, message.limits.epochs) == (16, 7, 3)
    assert message.optimisation.schedule == jobs_pb2.LEARNING_RATE_SCHEDULE_COSINE


def test_what_is_absent_is_left_to_the_training_code() -> None:
    spec = read_spec(SIMPLE, base_digest=BASE)
    assert spec.options == {}
    assert (spec.train, spec.eval, spec.queue) == ("a", None, JobClass.NORMAL)
    assert spec.publish == PublishPolicy("support", (AliasMove("latest"),))


def test_a_job_that_publishes_nothing_needs_no_adapter() -> None:
    never = jobs_pb2.PublishPolicy(mode=jobs_pb2.PUBLISH_MODE_NEVER)
    spec = read_spec(jobs_pb2.JobSpec(train=["datasets/a"], publish=never), base_digest=BASE)
    assert spec.publish == PublishPolicy(None)
    assert spec_message(spec, {}).publish == never


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (jobs_pb2.JobSpec(publish=POLICY), "spec.train"),
        (changed(train=["a"]), "spec.train"),
        (changed(eval=["datasets/"]), "spec.eval"),
        (jobs_pb2.JobSpec(train=["datasets/a"]), "spec.publish.adapter"),
        (changed(publish=jobs_pb2.PublishPolicy(adapter="No")), "spec.publish.adapter"),
        (changed(publish=jobs_pb2.PublishPolicy(adapter="shared")), "spec.publish.adapter"),
        (
            changed(publish=jobs_pb2.PublishPolicy(aliases=[types_pb2.AliasMove(alias="No")])),
            "spec.publish.aliases",
        ),
        (changed(display_name="é" * 128), "spec.display_name"),
        (changed(labels={"": "x"}), "spec.labels"),
        (changed(publish=jobs_pb2.PublishPolicy(labels={"k" * 64: ""})), "spec.publish.labels"),
    ],
    ids=str,
)
def test_a_bad_value_is_refused_by_its_field(spec: jobs_pb2.JobSpec, field: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        read_spec(spec, base_digest=BASE)
    assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (changed(parent="support@1"), "parent"),
        (changed(dpo=jobs_pb2.DpoMethod()), "dpo"),
        (changed(distill=jobs_pb2.DistillMethod()), "distill"),
        (changed(lora=jobs_pb2.LoraOptions(dora=True)), "lora.dora"),
        (changed(lora=jobs_pb2.LoraOptions(init=jobs_pb2.LORA_INIT_EVA)), "lora.init"),
        (changed(data=jobs_pb2.DataOptions(chat_template="x")), "data.chat_template"),
        (changed(limits=jobs_pb2.Limits(wall_time_s=0)), "limits.wall_time_s"),
        (changed(checkpoints=jobs_pb2.CheckpointOptions(keep=2)), "checkpoints.keep"),
        (
            changed(optimisation=jobs_pb2.Optimisation(optimizer=jobs_pb2.OPTIMIZER_ADAMW_8BIT)),
            "optimisation.optimizer",
        ),
        (changed(schedule=jobs_pb2.Schedule(auto_start=False)), "schedule.auto_start"),
        (changed(schedule=jobs_pb2.Schedule(not_before_ms=5)), "schedule.not_before_ms"),
        (changed(train=["datasets/b"]), "train"),
        (changed(eval=["datasets/b", "datasets/c"]), "eval"),
    ],
    ids=str,
)
def test_what_is_not_served_is_refused_by_name(spec: jobs_pb2.JobSpec, field: str) -> None:
    with pytest.raises(Unsupported) as caught:
        read_spec(spec, base_digest=BASE)
    assert caught.value.metadata == {"field": field}


def test_values_that_mean_off_are_served() -> None:
    spec = changed(
        lora=jobs_pb2.LoraOptions(dora=False, plus_ratio=1, init=jobs_pb2.LORA_INIT_DEFAULT),
        optimisation=jobs_pb2.Optimisation(optimizer=jobs_pb2.OPTIMIZER_ADAMW),
        schedule=jobs_pb2.Schedule(auto_start=True),
    )
    assert read_spec(spec, base_digest=BASE) == read_spec(SIMPLE, base_digest=BASE)
