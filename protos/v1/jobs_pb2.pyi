from google.rpc import status_pb2 as _status_pb2
from weft.protos.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DatasetFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATASET_FORMAT_UNSPECIFIED: _ClassVar[DatasetFormat]
    DATASET_FORMAT_TEXT: _ClassVar[DatasetFormat]
    DATASET_FORMAT_COMPLETION: _ClassVar[DatasetFormat]
    DATASET_FORMAT_CHAT: _ClassVar[DatasetFormat]
    DATASET_FORMAT_PREFERENCE: _ClassVar[DatasetFormat]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_WARNING: _ClassVar[Severity]
    SEVERITY_ERROR: _ClassVar[Severity]

class Split(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_UNSPECIFIED: _ClassVar[Split]
    SPLIT_TRAIN: _ClassVar[Split]
    SPLIT_EVAL: _ClassVar[Split]

class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNSPECIFIED: _ClassVar[Loss]
    LOSS_ASSISTANT: _ClassVar[Loss]
    LOSS_ALL: _ClassVar[Loss]

class Truncation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUNCATION_UNSPECIFIED: _ClassVar[Truncation]
    TRUNCATION_END: _ClassVar[Truncation]
    TRUNCATION_ERROR: _ClassVar[Truncation]

class LoraInit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LORA_INIT_UNSPECIFIED: _ClassVar[LoraInit]
    LORA_INIT_DEFAULT: _ClassVar[LoraInit]
    LORA_INIT_ORTHOGONAL: _ClassVar[LoraInit]
    LORA_INIT_EVA: _ClassVar[LoraInit]

class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_UNSPECIFIED: _ClassVar[Optimizer]
    OPTIMIZER_ADAMW: _ClassVar[Optimizer]
    OPTIMIZER_ADAMW_8BIT: _ClassVar[Optimizer]

class LearningRateSchedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEARNING_RATE_SCHEDULE_UNSPECIFIED: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_COSINE: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_LINEAR: _ClassVar[LearningRateSchedule]
    LEARNING_RATE_SCHEDULE_CONSTANT: _ClassVar[LearningRateSchedule]

class BasePrecision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BASE_PRECISION_UNSPECIFIED: _ClassVar[BasePrecision]
    BASE_PRECISION_BF16: _ClassVar[BasePrecision]
    BASE_PRECISION_INT8: _ClassVar[BasePrecision]
    BASE_PRECISION_NF4: _ClassVar[BasePrecision]

class PublishMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLISH_MODE_UNSPECIFIED: _ClassVar[PublishMode]
    PUBLISH_MODE_NEVER: _ClassVar[PublishMode]
    PUBLISH_MODE_ON_SUCCESS: _ClassVar[PublishMode]
    PUBLISH_MODE_ON_GATE: _ClassVar[PublishMode]
    PUBLISH_MODE_EVERY_CHECKPOINT: _ClassVar[PublishMode]

class CheckpointSelection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHECKPOINT_SELECTION_UNSPECIFIED: _ClassVar[CheckpointSelection]
    CHECKPOINT_SELECTION_LAST: _ClassVar[CheckpointSelection]
    CHECKPOINT_SELECTION_BEST: _ClassVar[CheckpointSelection]

class Comparison(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPARISON_UNSPECIFIED: _ClassVar[Comparison]
    COMPARISON_BELOW: _ClassVar[Comparison]
    COMPARISON_AT_MOST: _ClassVar[Comparison]
    COMPARISON_ABOVE: _ClassVar[Comparison]
    COMPARISON_AT_LEAST: _ClassVar[Comparison]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_VALIDATING: _ClassVar[JobState]
    JOB_STATE_INVALID: _ClassVar[JobState]
    JOB_STATE_HELD: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_PAUSED: _ClassVar[JobState]
    JOB_STATE_CANCELLING: _ClassVar[JobState]
    JOB_STATE_PUBLISHING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class JobPhase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_PHASE_UNSPECIFIED: _ClassVar[JobPhase]
    JOB_PHASE_PREPARE: _ClassVar[JobPhase]
    JOB_PHASE_TRAIN: _ClassVar[JobPhase]
    JOB_PHASE_EVALUATE: _ClassVar[JobPhase]
    JOB_PHASE_YIELD: _ClassVar[JobPhase]

class QueueReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUEUE_REASON_UNSPECIFIED: _ClassVar[QueueReason]
    QUEUE_REASON_WAITING_FOR_WORKER: _ClassVar[QueueReason]
    QUEUE_REASON_TENANT_QUOTA: _ClassVar[QueueReason]
    QUEUE_REASON_NO_WORKER_FOR_BASE: _ClassVar[QueueReason]
    QUEUE_REASON_NOT_BEFORE: _ClassVar[QueueReason]
    QUEUE_REASON_YIELDING: _ClassVar[QueueReason]

class Publication(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLICATION_UNSPECIFIED: _ClassVar[Publication]
    PUBLICATION_PUBLISHED: _ClassVar[Publication]
    PUBLICATION_NOT_REQUESTED: _ClassVar[Publication]
    PUBLICATION_GATE_NOT_MET: _ClassVar[Publication]
    PUBLICATION_ALIAS_CONFLICT: _ClassVar[Publication]
    PUBLICATION_NO_CHECKPOINT: _ClassVar[Publication]
DATASET_FORMAT_UNSPECIFIED: DatasetFormat
DATASET_FORMAT_TEXT: DatasetFormat
DATASET_FORMAT_COMPLETION: DatasetFormat
DATASET_FORMAT_CHAT: DatasetFormat
DATASET_FORMAT_PREFERENCE: DatasetFormat
SEVERITY_UNSPECIFIED: Severity
SEVERITY_WARNING: Severity
SEVERITY_ERROR: Severity
SPLIT_UNSPECIFIED: Split
SPLIT_TRAIN: Split
SPLIT_EVAL: Split
LOSS_UNSPECIFIED: Loss
LOSS_ASSISTANT: Loss
LOSS_ALL: Loss
TRUNCATION_UNSPECIFIED: Truncation
TRUNCATION_END: Truncation
TRUNCATION_ERROR: Truncation
LORA_INIT_UNSPECIFIED: LoraInit
LORA_INIT_DEFAULT: LoraInit
LORA_INIT_ORTHOGONAL: LoraInit
LORA_INIT_EVA: LoraInit
OPTIMIZER_UNSPECIFIED: Optimizer
OPTIMIZER_ADAMW: Optimizer
OPTIMIZER_ADAMW_8BIT: Optimizer
LEARNING_RATE_SCHEDULE_UNSPECIFIED: LearningRateSchedule
LEARNING_RATE_SCHEDULE_COSINE: LearningRateSchedule
LEARNING_RATE_SCHEDULE_LINEAR: LearningRateSchedule
LEARNING_RATE_SCHEDULE_CONSTANT: LearningRateSchedule
BASE_PRECISION_UNSPECIFIED: BasePrecision
BASE_PRECISION_BF16: BasePrecision
BASE_PRECISION_INT8: BasePrecision
BASE_PRECISION_NF4: BasePrecision
PUBLISH_MODE_UNSPECIFIED: PublishMode
PUBLISH_MODE_NEVER: PublishMode
PUBLISH_MODE_ON_SUCCESS: PublishMode
PUBLISH_MODE_ON_GATE: PublishMode
PUBLISH_MODE_EVERY_CHECKPOINT: PublishMode
CHECKPOINT_SELECTION_UNSPECIFIED: CheckpointSelection
CHECKPOINT_SELECTION_LAST: CheckpointSelection
CHECKPOINT_SELECTION_BEST: CheckpointSelection
COMPARISON_UNSPECIFIED: Comparison
COMPARISON_BELOW: Comparison
COMPARISON_AT_MOST: Comparison
COMPARISON_ABOVE: Comparison
COMPARISON_AT_LEAST: Comparison
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_VALIDATING: JobState
JOB_STATE_INVALID: JobState
JOB_STATE_HELD: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_PAUSED: JobState
JOB_STATE_CANCELLING: JobState
JOB_STATE_PUBLISHING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
JOB_PHASE_UNSPECIFIED: JobPhase
JOB_PHASE_PREPARE: JobPhase
JOB_PHASE_TRAIN: JobPhase
JOB_PHASE_EVALUATE: JobPhase
JOB_PHASE_YIELD: JobPhase
QUEUE_REASON_UNSPECIFIED: QueueReason
QUEUE_REASON_WAITING_FOR_WORKER: QueueReason
QUEUE_REASON_TENANT_QUOTA: QueueReason
QUEUE_REASON_NO_WORKER_FOR_BASE: QueueReason
QUEUE_REASON_NOT_BEFORE: QueueReason
QUEUE_REASON_YIELDING: QueueReason
PUBLICATION_UNSPECIFIED: Publication
PUBLICATION_PUBLISHED: Publication
PUBLICATION_NOT_REQUESTED: Publication
PUBLICATION_GATE_NOT_MET: Publication
PUBLICATION_ALIAS_CONFLICT: Publication
PUBLICATION_NO_CHECKPOINT: Publication

class Dataset(_message.Message):
    __slots__ = ("name", "digest", "size_bytes", "format", "num_rows", "display_name", "labels", "created_ms")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    size_bytes: int
    format: DatasetFormat
    num_rows: int
    display_name: str
    labels: _containers.ScalarMap[str, str]
    created_ms: int
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., format: _Optional[_Union[DatasetFormat, str]] = ..., num_rows: _Optional[int] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., created_ms: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("code", "severity", "row", "line", "path", "message", "suggestion", "excerpt", "row_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    EXCERPT_FIELD_NUMBER: _ClassVar[int]
    ROW_ID_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Severity
    row: int
    line: int
    path: str
    message: str
    suggestion: str
    excerpt: str
    row_id: str
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., row: _Optional[int] = ..., line: _Optional[int] = ..., path: _Optional[str] = ..., message: _Optional[str] = ..., suggestion: _Optional[str] = ..., excerpt: _Optional[str] = ..., row_id: _Optional[str] = ...) -> None: ...

class FindingCount(_message.Message):
    __slots__ = ("code", "severity", "count", "first")
    CODE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    code: str
    severity: Severity
    count: int
    first: _containers.RepeatedCompositeFieldContainer[Finding]
    def __init__(self, code: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., count: _Optional[int] = ..., first: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ...) -> None: ...

class SplitStatistics(_message.Message):
    __slots__ = ("split", "num_rows", "total_tokens", "trained_tokens", "masked_tokens")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MASKED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    split: Split
    num_rows: int
    total_tokens: int
    trained_tokens: int
    masked_tokens: int
    def __init__(self, split: _Optional[_Union[Split, str]] = ..., num_rows: _Optional[int] = ..., total_tokens: _Optional[int] = ..., trained_tokens: _Optional[int] = ..., masked_tokens: _Optional[int] = ...) -> None: ...

class LengthBucket(_message.Message):
    __slots__ = ("max_tokens", "num_rows")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    num_rows: int
    def __init__(self, max_tokens: _Optional[int] = ..., num_rows: _Optional[int] = ...) -> None: ...

class TextSpan(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class RenderedRow(_message.Message):
    __slots__ = ("row", "text", "trained")
    ROW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_FIELD_NUMBER: _ClassVar[int]
    row: int
    text: str
    trained: _containers.RepeatedCompositeFieldContainer[TextSpan]
    def __init__(self, row: _Optional[int] = ..., text: _Optional[str] = ..., trained: _Optional[_Iterable[_Union[TextSpan, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("digest", "num_errors", "num_warnings", "counts", "splits", "lengths", "rows", "estimate", "dataset_digests", "tokenizer_digest", "template_digest")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    NUM_ERRORS_FIELD_NUMBER: _ClassVar[int]
    NUM_WARNINGS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: str
    num_errors: int
    num_warnings: int
    counts: _containers.RepeatedCompositeFieldContainer[FindingCount]
    splits: _containers.RepeatedCompositeFieldContainer[SplitStatistics]
    lengths: _containers.RepeatedCompositeFieldContainer[LengthBucket]
    rows: _containers.RepeatedCompositeFieldContainer[RenderedRow]
    estimate: Estimate
    dataset_digests: _containers.RepeatedScalarFieldContainer[str]
    tokenizer_digest: str
    template_digest: str
    def __init__(self, digest: _Optional[str] = ..., num_errors: _Optional[int] = ..., num_warnings: _Optional[int] = ..., counts: _Optional[_Iterable[_Union[FindingCount, _Mapping]]] = ..., splits: _Optional[_Iterable[_Union[SplitStatistics, _Mapping]]] = ..., lengths: _Optional[_Iterable[_Union[LengthBucket, _Mapping]]] = ..., rows: _Optional[_Iterable[_Union[RenderedRow, _Mapping]]] = ..., estimate: _Optional[_Union[Estimate, _Mapping]] = ..., dataset_digests: _Optional[_Iterable[str]] = ..., tokenizer_digest: _Optional[str] = ..., template_digest: _Optional[str] = ...) -> None: ...

class Estimate(_message.Message):
    __slots__ = ("steps", "packed_tokens", "duration_s", "memory_bytes")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    PACKED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    steps: int
    packed_tokens: int
    duration_s: int
    memory_bytes: int
    def __init__(self, steps: _Optional[int] = ..., packed_tokens: _Optional[int] = ..., duration_s: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class SftMethod(_message.Message):
    __slots__ = ("loss",)
    LOSS_FIELD_NUMBER: _ClassVar[int]
    loss: Loss
    def __init__(self, loss: _Optional[_Union[Loss, str]] = ...) -> None: ...

class DpoMethod(_message.Message):
    __slots__ = ("beta",)
    BETA_FIELD_NUMBER: _ClassVar[int]
    beta: float
    def __init__(self, beta: _Optional[float] = ...) -> None: ...

class DistillMethod(_message.Message):
    __slots__ = ("teacher", "teacher_system", "alpha", "temperature")
    TEACHER_FIELD_NUMBER: _ClassVar[int]
    TEACHER_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    teacher: str
    teacher_system: str
    alpha: float
    temperature: float
    def __init__(self, teacher: _Optional[str] = ..., teacher_system: _Optional[str] = ..., alpha: _Optional[float] = ..., temperature: _Optional[float] = ...) -> None: ...

class LoraOptions(_message.Message):
    __slots__ = ("rank", "alpha", "rslora", "targets", "rank_pattern", "alpha_pattern", "dropout", "plus_ratio", "init", "dora")
    class RankPatternEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AlphaPatternEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    RANK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    RSLORA_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    RANK_PATTERN_FIELD_NUMBER: _ClassVar[int]
    ALPHA_PATTERN_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    PLUS_RATIO_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    DORA_FIELD_NUMBER: _ClassVar[int]
    rank: int
    alpha: float
    rslora: bool
    targets: _containers.RepeatedScalarFieldContainer[str]
    rank_pattern: _containers.ScalarMap[str, int]
    alpha_pattern: _containers.ScalarMap[str, float]
    dropout: float
    plus_ratio: float
    init: LoraInit
    dora: bool
    def __init__(self, rank: _Optional[int] = ..., alpha: _Optional[float] = ..., rslora: _Optional[bool] = ..., targets: _Optional[_Iterable[str]] = ..., rank_pattern: _Optional[_Mapping[str, int]] = ..., alpha_pattern: _Optional[_Mapping[str, float]] = ..., dropout: _Optional[float] = ..., plus_ratio: _Optional[float] = ..., init: _Optional[_Union[LoraInit, str]] = ..., dora: _Optional[bool] = ...) -> None: ...

class DataOptions(_message.Message):
    __slots__ = ("max_tokens", "truncate", "packing", "drop_masked", "chat_template")
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    PACKING_FIELD_NUMBER: _ClassVar[int]
    DROP_MASKED_FIELD_NUMBER: _ClassVar[int]
    CHAT_TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    max_tokens: int
    truncate: Truncation
    packing: bool
    drop_masked: bool
    chat_template: str
    def __init__(self, max_tokens: _Optional[int] = ..., truncate: _Optional[_Union[Truncation, str]] = ..., packing: _Optional[bool] = ..., drop_masked: _Optional[bool] = ..., chat_template: _Optional[str] = ...) -> None: ...

class Optimisation(_message.Message):
    __slots__ = ("optimizer", "learning_rate", "schedule", "warmup", "batch_tokens", "batch_pairs", "weight_decay", "grad_clip", "seed", "base_precision", "deterministic")
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    BATCH_TOKENS_FIELD_NUMBER: _ClassVar[int]
    BATCH_PAIRS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    GRAD_CLIP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BASE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    DETERMINISTIC_FIELD_NUMBER: _ClassVar[int]
    optimizer: Optimizer
    learning_rate: float
    schedule: LearningRateSchedule
    warmup: float
    batch_tokens: int
    batch_pairs: int
    weight_decay: float
    grad_clip: float
    seed: int
    base_precision: BasePrecision
    deterministic: bool
    def __init__(self, optimizer: _Optional[_Union[Optimizer, str]] = ..., learning_rate: _Optional[float] = ..., schedule: _Optional[_Union[LearningRateSchedule, str]] = ..., warmup: _Optional[float] = ..., batch_tokens: _Optional[int] = ..., batch_pairs: _Optional[int] = ..., weight_decay: _Optional[float] = ..., grad_clip: _Optional[float] = ..., seed: _Optional[int] = ..., base_precision: _Optional[_Union[BasePrecision, str]] = ..., deterministic: _Optional[bool] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("epochs", "max_steps", "max_trained_tokens", "wall_time_s", "gpu_seconds")
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_TRAINED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    WALL_TIME_S_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    epochs: float
    max_steps: int
    max_trained_tokens: int
    wall_time_s: int
    gpu_seconds: int
    def __init__(self, epochs: _Optional[float] = ..., max_steps: _Optional[int] = ..., max_trained_tokens: _Optional[int] = ..., wall_time_s: _Optional[int] = ..., gpu_seconds: _Optional[int] = ...) -> None: ...

class CheckpointOptions(_message.Message):
    __slots__ = ("every_steps", "every_s", "keep")
    EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    EVERY_S_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    every_steps: int
    every_s: int
    keep: int
    def __init__(self, every_steps: _Optional[int] = ..., every_s: _Optional[int] = ..., keep: _Optional[int] = ...) -> None: ...

class EarlyStop(_message.Message):
    __slots__ = ("metric", "patience", "min_delta")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_FIELD_NUMBER: _ClassVar[int]
    MIN_DELTA_FIELD_NUMBER: _ClassVar[int]
    metric: str
    patience: int
    min_delta: float
    def __init__(self, metric: _Optional[str] = ..., patience: _Optional[int] = ..., min_delta: _Optional[float] = ...) -> None: ...

class EvaluationOptions(_message.Message):
    __slots__ = ("every_steps", "samples", "early_stop")
    EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOP_FIELD_NUMBER: _ClassVar[int]
    every_steps: int
    samples: _containers.RepeatedScalarFieldContainer[str]
    early_stop: EarlyStop
    def __init__(self, every_steps: _Optional[int] = ..., samples: _Optional[_Iterable[str]] = ..., early_stop: _Optional[_Union[EarlyStop, _Mapping]] = ...) -> None: ...

class MetricGate(_message.Message):
    __slots__ = ("metric", "comparison", "value")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    COMPARISON_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    metric: str
    comparison: Comparison
    value: float
    def __init__(self, metric: _Optional[str] = ..., comparison: _Optional[_Union[Comparison, str]] = ..., value: _Optional[float] = ...) -> None: ...

class BetterThanGate(_message.Message):
    __slots__ = ("alias", "min_delta")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    MIN_DELTA_FIELD_NUMBER: _ClassVar[int]
    alias: str
    min_delta: float
    def __init__(self, alias: _Optional[str] = ..., min_delta: _Optional[float] = ...) -> None: ...

class Gate(_message.Message):
    __slots__ = ("metric", "better_than")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    BETTER_THAN_FIELD_NUMBER: _ClassVar[int]
    metric: MetricGate
    better_than: BetterThanGate
    def __init__(self, metric: _Optional[_Union[MetricGate, _Mapping]] = ..., better_than: _Optional[_Union[BetterThanGate, _Mapping]] = ...) -> None: ...

class PublishPolicy(_message.Message):
    __slots__ = ("mode", "adapter", "aliases", "no_latest", "select", "gates", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODE_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NO_LATEST_FIELD_NUMBER: _ClassVar[int]
    SELECT_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    mode: PublishMode
    adapter: str
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.AliasMove]
    no_latest: bool
    select: CheckpointSelection
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, mode: _Optional[_Union[PublishMode, str]] = ..., adapter: _Optional[str] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.AliasMove, _Mapping]]] = ..., no_latest: _Optional[bool] = ..., select: _Optional[_Union[CheckpointSelection, str]] = ..., gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Schedule(_message.Message):
    __slots__ = ("priority", "auto_start", "not_before_ms")
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    AUTO_START_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    priority: _types_pb2.Priority
    auto_start: bool
    not_before_ms: int
    def __init__(self, priority: _Optional[_Union[_types_pb2.Priority, str]] = ..., auto_start: _Optional[bool] = ..., not_before_ms: _Optional[int] = ...) -> None: ...

class JobSpec(_message.Message):
    __slots__ = ("display_name", "labels", "base", "parent", "train", "eval", "eval_fraction", "sft", "dpo", "distill", "lora", "data", "optimisation", "limits", "checkpoints", "evaluation", "publish", "schedule")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    EVAL_FIELD_NUMBER: _ClassVar[int]
    EVAL_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SFT_FIELD_NUMBER: _ClassVar[int]
    DPO_FIELD_NUMBER: _ClassVar[int]
    DISTILL_FIELD_NUMBER: _ClassVar[int]
    LORA_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OPTIMISATION_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    display_name: str
    labels: _containers.ScalarMap[str, str]
    base: str
    parent: str
    train: _containers.RepeatedScalarFieldContainer[str]
    eval: _containers.RepeatedScalarFieldContainer[str]
    eval_fraction: float
    sft: SftMethod
    dpo: DpoMethod
    distill: DistillMethod
    lora: LoraOptions
    data: DataOptions
    optimisation: Optimisation
    limits: Limits
    checkpoints: CheckpointOptions
    evaluation: EvaluationOptions
    publish: PublishPolicy
    schedule: Schedule
    def __init__(self, display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., base: _Optional[str] = ..., parent: _Optional[str] = ..., train: _Optional[_Iterable[str]] = ..., eval: _Optional[_Iterable[str]] = ..., eval_fraction: _Optional[float] = ..., sft: _Optional[_Union[SftMethod, _Mapping]] = ..., dpo: _Optional[_Union[DpoMethod, _Mapping]] = ..., distill: _Optional[_Union[DistillMethod, _Mapping]] = ..., lora: _Optional[_Union[LoraOptions, _Mapping]] = ..., data: _Optional[_Union[DataOptions, _Mapping]] = ..., optimisation: _Optional[_Union[Optimisation, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., checkpoints: _Optional[_Union[CheckpointOptions, _Mapping]] = ..., evaluation: _Optional[_Union[EvaluationOptions, _Mapping]] = ..., publish: _Optional[_Union[PublishPolicy, _Mapping]] = ..., schedule: _Optional[_Union[Schedule, _Mapping]] = ...) -> None: ...

class JobQueue(_message.Message):
    __slots__ = ("position", "reason", "eta_s")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: QueueReason
    eta_s: int
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[_Union[QueueReason, str]] = ..., eta_s: _Optional[int] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("step", "num_steps", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm", "trained_tokens", "masked_tokens", "tokens_per_s", "eta_s", "skipped_rows")
    STEP_FIELD_NUMBER: _ClassVar[int]
    NUM_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    EVAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    TRAINED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MASKED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_S_FIELD_NUMBER: _ClassVar[int]
    ETA_S_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_ROWS_FIELD_NUMBER: _ClassVar[int]
    step: int
    num_steps: int
    epoch: float
    loss: float
    eval_loss: float
    learning_rate: float
    grad_norm: float
    trained_tokens: int
    masked_tokens: int
    tokens_per_s: float
    eta_s: int
    skipped_rows: int
    def __init__(self, step: _Optional[int] = ..., num_steps: _Optional[int] = ..., epoch: _Optional[float] = ..., loss: _Optional[float] = ..., eval_loss: _Optional[float] = ..., learning_rate: _Optional[float] = ..., grad_norm: _Optional[float] = ..., trained_tokens: _Optional[int] = ..., masked_tokens: _Optional[int] = ..., tokens_per_s: _Optional[float] = ..., eta_s: _Optional[int] = ..., skipped_rows: _Optional[int] = ...) -> None: ...

class JobUsage(_message.Message):
    __slots__ = ("trained_tokens", "total_tokens", "gpu_seconds", "wall_s", "attempts")
    TRAINED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    WALL_S_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    trained_tokens: int
    total_tokens: int
    gpu_seconds: float
    wall_s: float
    attempts: int
    def __init__(self, trained_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ..., gpu_seconds: _Optional[float] = ..., wall_s: _Optional[float] = ..., attempts: _Optional[int] = ...) -> None: ...

class JobResult(_message.Message):
    __slots__ = ("publication", "version", "digest", "event_id", "gate_metric", "gate_value", "checkpoint")
    PUBLICATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    GATE_METRIC_FIELD_NUMBER: _ClassVar[int]
    GATE_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    publication: Publication
    version: str
    digest: str
    event_id: str
    gate_metric: str
    gate_value: float
    checkpoint: str
    def __init__(self, publication: _Optional[_Union[Publication, str]] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., event_id: _Optional[str] = ..., gate_metric: _Optional[str] = ..., gate_value: _Optional[float] = ..., checkpoint: _Optional[str] = ...) -> None: ...

class Checkpoint(_message.Message):
    __slots__ = ("name", "step", "digest", "epoch", "loss", "eval_loss", "size_bytes", "best", "resumable", "created_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    EVAL_LOSS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    RESUMABLE_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    step: int
    digest: str
    epoch: float
    loss: float
    eval_loss: float
    size_bytes: int
    best: bool
    resumable: bool
    created_ms: int
    def __init__(self, name: _Optional[str] = ..., step: _Optional[int] = ..., digest: _Optional[str] = ..., epoch: _Optional[float] = ..., loss: _Optional[float] = ..., eval_loss: _Optional[float] = ..., size_bytes: _Optional[int] = ..., best: _Optional[bool] = ..., resumable: _Optional[bool] = ..., created_ms: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("name", "etag", "generation", "spec", "resolved", "state", "phase", "reason", "queue", "progress", "usage", "report", "checkpoint", "result", "error", "executor", "provenance_digest", "created_ms", "started_ms", "ended_ms")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    STARTED_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    generation: int
    spec: JobSpec
    resolved: JobSpec
    state: JobState
    phase: JobPhase
    reason: str
    queue: JobQueue
    progress: JobProgress
    usage: JobUsage
    report: Report
    checkpoint: str
    result: JobResult
    error: _status_pb2.Status
    executor: str
    provenance_digest: str
    created_ms: int
    started_ms: int
    ended_ms: int
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., generation: _Optional[int] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., resolved: _Optional[_Union[JobSpec, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., phase: _Optional[_Union[JobPhase, str]] = ..., reason: _Optional[str] = ..., queue: _Optional[_Union[JobQueue, _Mapping]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., usage: _Optional[_Union[JobUsage, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., checkpoint: _Optional[str] = ..., result: _Optional[_Union[JobResult, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., executor: _Optional[str] = ..., provenance_digest: _Optional[str] = ..., created_ms: _Optional[int] = ..., started_ms: _Optional[int] = ..., ended_ms: _Optional[int] = ...) -> None: ...

class CheckDatasetRequest(_message.Message):
    __slots__ = ("digest", "base", "sft", "dpo", "distill", "data")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    SFT_FIELD_NUMBER: _ClassVar[int]
    DPO_FIELD_NUMBER: _ClassVar[int]
    DISTILL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    digest: str
    base: str
    sft: SftMethod
    dpo: DpoMethod
    distill: DistillMethod
    data: DataOptions
    def __init__(self, digest: _Optional[str] = ..., base: _Optional[str] = ..., sft: _Optional[_Union[SftMethod, _Mapping]] = ..., dpo: _Optional[_Union[DpoMethod, _Mapping]] = ..., distill: _Optional[_Union[DistillMethod, _Mapping]] = ..., data: _Optional[_Union[DataOptions, _Mapping]] = ...) -> None: ...

class CheckDatasetResponse(_message.Message):
    __slots__ = ("report",)
    REPORT_FIELD_NUMBER: _ClassVar[int]
    report: Report
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ...) -> None: ...

class CreateDatasetRequest(_message.Message):
    __slots__ = ("digest", "display_name", "labels", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    digest: str
    display_name: str
    labels: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, digest: _Optional[str] = ..., display_name: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateDatasetResponse(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: Dataset
    def __init__(self, dataset: _Optional[_Union[Dataset, _Mapping]] = ...) -> None: ...

class GetDatasetRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetDatasetResponse(_message.Message):
    __slots__ = ("dataset",)
    DATASET_FIELD_NUMBER: _ClassVar[int]
    dataset: Dataset
    def __init__(self, dataset: _Optional[_Union[Dataset, _Mapping]] = ...) -> None: ...

class ListDatasetsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    labels: _containers.ScalarMap[str, str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListDatasetsResponse(_message.Message):
    __slots__ = ("datasets", "next_page_token")
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    datasets: _containers.RepeatedCompositeFieldContainer[Dataset]
    next_page_token: str
    def __init__(self, datasets: _Optional[_Iterable[_Union[Dataset, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteDatasetRequest(_message.Message):
    __slots__ = ("name", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteDatasetResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("name", "severity", "page_size", "page_token")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    name: str
    severity: Severity
    page_size: int
    page_token: str
    def __init__(self, name: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("report", "findings", "next_page_token")
    REPORT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    report: Report
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    next_page_token: str
    def __init__(self, report: _Optional[_Union[Report, _Mapping]] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("spec", "validate_only", "request_id")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    validate_only: bool
    request_id: str
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class EstimateJobRequest(_message.Message):
    __slots__ = ("spec",)
    SPEC_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class EstimateJobResponse(_message.Message):
    __slots__ = ("estimate", "resolved")
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    estimate: Estimate
    resolved: JobSpec
    def __init__(self, estimate: _Optional[_Union[Estimate, _Mapping]] = ..., resolved: _Optional[_Union[JobSpec, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "states", "labels")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    states: _containers.RepeatedScalarFieldContainer[JobState]
    labels: _containers.ScalarMap[str, str]
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., states: _Optional[_Iterable[_Union[JobState, str]]] = ..., labels: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StartJobRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class StartJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class PauseJobRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class PauseJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ResumeJobRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class ResumeJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteJobResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("name", "cursor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    cursor: str
    def __init__(self, name: _Optional[str] = ..., cursor: _Optional[str] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("event", "dropped_events")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_EVENTS_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    dropped_events: int
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ..., dropped_events: _Optional[int] = ...) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("cursor", "time_ms", "state", "phase", "progress", "sample", "checkpoint", "warning", "published", "error")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    WARNING_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    time_ms: int
    state: JobStateChanged
    phase: JobPhase
    progress: JobProgress
    sample: JobSample
    checkpoint: Checkpoint
    warning: JobWarning
    published: JobResult
    error: _status_pb2.Status
    def __init__(self, cursor: _Optional[str] = ..., time_ms: _Optional[int] = ..., state: _Optional[_Union[JobStateChanged, _Mapping]] = ..., phase: _Optional[_Union[JobPhase, str]] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., sample: _Optional[_Union[JobSample, _Mapping]] = ..., checkpoint: _Optional[_Union[Checkpoint, _Mapping]] = ..., warning: _Optional[_Union[JobWarning, _Mapping]] = ..., published: _Optional[_Union[JobResult, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class JobStateChanged(_message.Message):
    __slots__ = ("to", "reason", "generation")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    to: JobState
    reason: str
    generation: int
    def __init__(self, to: _Optional[_Union[JobState, str]] = ..., reason: _Optional[str] = ..., generation: _Optional[int] = ..., **kwargs) -> None: ...

class JobSample(_message.Message):
    __slots__ = ("step", "prompt", "text")
    STEP_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    step: int
    prompt: str
    text: str
    def __init__(self, step: _Optional[int] = ..., prompt: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class JobWarning(_message.Message):
    __slots__ = ("step", "message", "rows")
    STEP_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    step: int
    message: str
    rows: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, step: _Optional[int] = ..., message: _Optional[str] = ..., rows: _Optional[_Iterable[int]] = ...) -> None: ...

class ListCheckpointsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListCheckpointsResponse(_message.Message):
    __slots__ = ("checkpoints", "next_page_token")
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    checkpoints: _containers.RepeatedCompositeFieldContainer[Checkpoint]
    next_page_token: str
    def __init__(self, checkpoints: _Optional[_Iterable[_Union[Checkpoint, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class PublishCheckpointRequest(_message.Message):
    __slots__ = ("name", "adapter", "aliases", "no_latest", "labels", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NO_LATEST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    adapter: str
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.AliasMove]
    no_latest: bool
    labels: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, name: _Optional[str] = ..., adapter: _Optional[str] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.AliasMove, _Mapping]]] = ..., no_latest: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PublishCheckpointResponse(_message.Message):
    __slots__ = ("version", "aliases", "event_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Alias]
    event_id: str
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.Alias, _Mapping]]] = ..., event_id: _Optional[str] = ...) -> None: ...
