"""Job specs between the wire and the records; what is not served is refused by name."""

from collections.abc import Mapping

from google.protobuf.message import Message

from weft.adapters.errors import Unsupported
from weft.adapters.job_records import JobClass, JobSpec, PublishPolicy
from weft.adapters.names import LATEST, RESERVED, is_name
from weft.adapters.records import AliasMove
from weft.protos.v1 import jobs_pb2, types_pb2

from .fields import Findings, check_display_name, check_labels

CLASSES = {
    types_pb2.PRIORITY_UNSPECIFIED: JobClass.NORMAL,
    types_pb2.PRIORITY_HIGH: JobClass.HIGH,
    types_pb2.PRIORITY_NORMAL: JobClass.NORMAL,
    types_pb2.PRIORITY_LOW: JobClass.LOW,
}
OFF = {
    "lora.init": (jobs_pb2.LORA_INIT_UNSPECIFIED, jobs_pb2.LORA_INIT_DEFAULT),
    "lora.dora": (False,),
    "lora.plus_ratio": (0.0, 1.0),
    "optimisation.optimizer": (jobs_pb2.OPTIMIZER_UNSPECIFIED, jobs_pb2.OPTIMIZER_ADAMW),
    "optimisation.base_precision": (
        jobs_pb2.BASE_PRECISION_UNSPECIFIED,
        jobs_pb2.BASE_PRECISION_BF16,
    ),
    "optimisation.deterministic": (False,),
    "publish.mode": (
        jobs_pb2.PUBLISH_MODE_UNSPECIFIED,
        jobs_pb2.PUBLISH_MODE_NEVER,
        jobs_pb2.PUBLISH_MODE_ON_SUCCESS,
    ),
    "publish.select": (
        jobs_pb2.CHECKPOINT_SELECTION_UNSPECIFIED,
        jobs_pb2.CHECKPOINT_SELECTION_LAST,
    ),
    "schedule.auto_start": (True,),
    "schedule.not_before_ms": (0,),
}
"""Fields that are served with these values only."""
UNSERVED = (
    "parent",
    "dpo",
    "distill",
    "data.chat_template",
    "optimisation.batch_pairs",
    "limits.max_trained_tokens",
    "limits.wall_time_s",
    "limits.gpu_seconds",
    "checkpoints.every_s",
    "checkpoints.keep",
    "evaluation.samples",
    "evaluation.early_stop",
    "publish.gates",
)
"""Fields that must be absent."""


def read_spec(spec: jobs_pb2.JobSpec, *, base_digest: str) -> JobSpec:
    """Check a spec and take it over.

    Raises:
        RequestInvalid: With every violation.
        Unsupported: Naming a field that is not served.
    """
    _refuse_unserved(spec)
    findings = Findings()
    findings.check(len(spec.train) >= 1, "spec.train", len(spec.train), "at least one data set")
    check_display_name("spec.display_name", spec.display_name, findings)
    publishes = spec.publish.mode != jobs_pb2.PUBLISH_MODE_NEVER
    if publishes:
        adapter = spec.publish.adapter
        findings.check(
            is_name(adapter) and adapter not in RESERVED, "spec.publish.adapter", adapter, "a name"
        )
        for move in spec.publish.aliases:
            findings.check(is_name(move.alias), "spec.publish.aliases", move.alias, "a name")
    check_labels("spec.labels", spec.labels, findings)
    check_labels("spec.publish.labels", spec.publish.labels, findings)
    train = [_dataset("spec.train", name, findings) for name in spec.train]
    evaluation = [_dataset("spec.eval", name, findings) for name in spec.eval]
    findings.done()
    for name, datasets in (("train", train), ("eval", evaluation)):
        if len(datasets) > 1:
            raise Unsupported(f"{len(datasets)} data sets in {name}; one is served", field=name)
    return JobSpec(
        base_digest=base_digest,
        train=train[0],
        eval=evaluation[0] if evaluation else None,
        options=_options(spec),
        publish=_policy(spec.publish) if publishes else PublishPolicy(None),
        queue=CLASSES[spec.schedule.priority],
        display_name=spec.display_name,
        labels=dict(spec.labels),
    )


def spec_message(spec: JobSpec, options: Mapping[str, object]) -> jobs_pb2.JobSpec:
    """Write a spec with these options: as asked for, or as resolved."""
    message = jobs_pb2.JobSpec(
        display_name=spec.display_name,
        labels=dict(spec.labels),
        base=spec.base_digest,
        train=[f"datasets/{spec.train}"],
        eval=[f"datasets/{spec.eval}"] if spec.eval is not None else [],
        publish=_policy_message(spec.publish),
        schedule=jobs_pb2.Schedule(priority=f"PRIORITY_{spec.queue.upper()}"),
    )
    for name, value in options.items():
        _put_option(message, name, value)
    return message


# Option of the training code → field of the wire.
FIELDS = {
    "learning_rate": "optimisation.learning_rate",
    "warmup": "optimisation.warmup",
    "batch_tokens": "optimisation.batch_tokens",
    "weight_decay": "optimisation.weight_decay",
    "grad_clip": "optimisation.grad_clip",
    "seed": "optimisation.seed",
    "max_tokens": "data.max_tokens",
    "packing": "data.packing",
    "drop_masked": "data.drop_masked",
    "epochs": "limits.epochs",
    "max_steps": "limits.max_steps",
    "eval_every": "evaluation.every_steps",
    "eval_fraction": "eval_fraction",
    "checkpoint_every": "checkpoints.every_steps",
}
ENUMS = {
    "schedule": ("optimisation.schedule", jobs_pb2.LearningRateSchedule, "LEARNING_RATE_SCHEDULE_"),
    "truncate": ("data.truncate", jobs_pb2.Truncation, "TRUNCATION_"),
    "loss": ("sft.loss", jobs_pb2.Loss, "LOSS_"),
}
LORA = ("rank", "alpha", "rslora", "dropout")


def _options(spec: jobs_pb2.JobSpec) -> dict[str, object]:
    """The options that were given, in the training code's own form."""
    options: dict[str, object] = {
        name: value for name, path in FIELDS.items() if (value := _given(spec, path)) is not None
    }
    for name, (path, kind, prefix) in ENUMS.items():
        value = _at(spec, path)
        if isinstance(value, int) and value:
            options[name] = kind.Name(value).removeprefix(prefix).lower()
    lora: dict[str, object] = {
        name: getattr(spec.lora, name) for name in LORA if spec.lora.HasField(name)
    }
    lora |= {
        name: value
        for name, value in (
            ("targets", list(spec.lora.targets)),
            ("rank_pattern", dict(spec.lora.rank_pattern)),
            ("alpha_pattern", dict(spec.lora.alpha_pattern)),
        )
        if value
    }
    return options | ({"lora": lora} if lora else {})


def _refuse_unserved(spec: jobs_pb2.JobSpec) -> None:
    for path in UNSERVED:
        if _present(spec, path):
            raise Unsupported(f"{path} is not served by this server", field=path)
    for path, served in OFF.items():
        value = _at(spec, path)
        if _present(spec, path) and value not in served:
            raise Unsupported(f"{path} {value} is not served by this server", field=path)


def _present(message: Message, path: str) -> bool:
    """Whether a field was set; for fields without presence, whether it differs from zero."""
    *outer, last = path.split(".")
    for name in outer:
        if not message.HasField(name):
            return False
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[last]
    return message.HasField(last) if field.has_presence else bool(getattr(message, last))


def _at(message: Message, path: str) -> object:
    for name in path.split("."):
        message = getattr(message, name)
    return message


def _given(message: Message, path: str) -> object | None:
    return _at(message, path) if _present(message, path) else None


def _dataset(field: str, name: str, findings: Findings) -> str:
    prefix, _, dataset = name.partition("/")
    findings.check(prefix == "datasets" and bool(dataset), field, name, "datasets/{id}")
    return dataset


def _policy(policy: jobs_pb2.PublishPolicy) -> PublishPolicy:
    latest = () if policy.no_latest else (AliasMove(LATEST),)
    moves = tuple(
        AliasMove(
            move.alias,
            move.expected_generation if move.HasField("expected_generation") else None,
        )
        for move in policy.aliases
    )
    return PublishPolicy(policy.adapter, (*latest, *moves), dict(policy.labels))


def _policy_message(policy: PublishPolicy) -> jobs_pb2.PublishPolicy:
    if policy.adapter is None:
        return jobs_pb2.PublishPolicy(mode=jobs_pb2.PUBLISH_MODE_NEVER)
    names = [move.name for move in policy.aliases]
    return jobs_pb2.PublishPolicy(
        mode=jobs_pb2.PUBLISH_MODE_ON_SUCCESS,
        adapter=policy.adapter,
        aliases=[
            types_pb2.AliasMove(alias=move.name, expected_generation=move.expected_generation)
            for move in policy.aliases
            if move.name != LATEST
        ],
        no_latest=LATEST not in names,
        labels=dict(policy.labels),
    )


def _put_option(spec: jobs_pb2.JobSpec, name: str, value: object) -> None:
    if name == "lora" and isinstance(value, Mapping):
        for option, item in value.items():
            _put_lora(spec.lora, option, item)
    elif name in ENUMS:
        path, kind, prefix = ENUMS[name]
        _put(spec, path, kind.Value(prefix + str(value).upper()))
    elif name in FIELDS:
        _put(spec, FIELDS[name], value)


def _put_lora(lora: jobs_pb2.LoraOptions, name: str, value: object) -> None:
    if name in LORA:
        setattr(lora, name, value)
    elif isinstance(value, Mapping):
        getattr(lora, name).update(value)
    else:
        getattr(lora, name).extend(value)


def _put(message: Message, path: str, value: object) -> None:
    *outer, last = path.split(".")
    for name in outer:
        message = getattr(message, name)
    setattr(message, last, value)
