"""What is kept of a fine-tuning job: frozen records, stored as JSON in the job's hash."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .records import AliasMove


class JobState(StrEnum):
    VALIDATING = "VALIDATING"
    INVALID = "INVALID"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    PUBLISHING = "PUBLISHING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {JobState.INVALID, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
)


class JobPhase(StrEnum):
    PREPARE = "PREPARE"
    TRAIN = "TRAIN"


class JobClass(StrEnum):
    """Queues of runnable jobs, in the order of precedence."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class PublicationState(StrEnum):
    """What became of a job's weights."""

    PUBLISHED = "PUBLISHED"
    NOT_REQUESTED = "NOT_REQUESTED"
    ALIAS_CONFLICT = "ALIAS_CONFLICT"
    NO_CHECKPOINT = "NO_CHECKPOINT"


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """What becomes of the weights; `adapter` None publishes nothing."""

    adapter: str | None
    aliases: tuple[AliasMove, ...] = (AliasMove("latest"),)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What a job is asked to do.

    Attributes:
        base_digest: Of the base to train on.
        train, eval: Data set ids; without `eval` a part of `train` is held out.
        options: JSON form of `FinetuneOptions`.
    """

    base_digest: str
    train: str
    publish: PublishPolicy
    eval: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    queue: JobClass = JobClass.NORMAL
    display_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far training has come; `eval_loss` is of the last evaluation."""

    step: int
    num_steps: int
    epoch: float
    loss: float
    eval_loss: float | None
    learning_rate: float
    grad_norm: float
    trained_tokens: int
    masked_tokens: int
    tokens_per_s: float
    eta_s: float
    skipped_rows: int


@dataclass(frozen=True, slots=True)
class JobCheckpoint:
    """A checkpoint on the disk of worker `host`, in its folder for this job."""

    step: int
    digest: str
    host: str


@dataclass(frozen=True, slots=True)
class JobReport:
    """Validation in short; `digest` is the blob with every finding, as JSONL, if there are any.

    Attributes:
        counts: Findings per code.
        first: The first findings as text, errors first.
    """

    digest: str | None
    num_errors: int
    num_warnings: int
    counts: Mapping[str, int]
    first: tuple[str, ...]
    train_rows: int
    train_tokens: int
    trained_tokens: int
    held_out_rows: int
    num_steps: int


@dataclass(frozen=True, slots=True)
class JobTarget:
    """The files that become the job's version, and how they came to be; all are in the store."""

    step: int
    config_digest: str
    weights_digest: str
    provenance_digest: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """What happened to the weights. Version, digest and event are of what was published."""

    publication: PublicationState
    version: int | None = None
    digest: str | None = None
    event_id: str | None = None


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job is INVALID or FAILED: a word, and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it is. Times are Unix times in milliseconds, 0 for what has not happened.

    Attributes:
        generation: Grows by 1 with every change of state.
        fence: Number of the claim that may write; another worker's writes are refused.
        attempt: Claims since the job was queued.
        holder: Worker that has it, or empty.
        resolved: Options with every default filled in, once it has been validated.
    """

    id: str
    tenant: str
    spec: JobSpec
    state: JobState
    phase: JobPhase | None
    reason: str
    generation: int
    fence: int
    attempt: int
    holder: str
    resolved: Mapping[str, object] | None
    progress: JobProgress | None
    checkpoint: JobCheckpoint | None
    report: JobReport | None
    target: JobTarget | None
    result: JobResult | None
    error: JobError | None
    created_ms: int
    started_ms: int
    ended_ms: int


@dataclass(frozen=True, slots=True)
class StateChanged:
    """A job moved; `source` is None for a new one."""

    source: JobState | None
    to: JobState
    reason: str
    generation: int


@dataclass(frozen=True, slots=True)
class JobWarning:
    """Something to look at, at a step; 0 before training."""

    step: int
    message: str


Happening = (
    StateChanged | JobPhase | JobProgress | JobCheckpoint | JobWarning | JobResult | JobError
)


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event. `cursor` is where to resume after it; `dropped` events before it are gone."""

    cursor: str
    time_ms: int
    body: Happening
    dropped: int = 0

    @property
    def is_last(self) -> bool:
        return isinstance(self.body, StateChanged) and self.body.to.is_final


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A data set: an immutable JSONL blob with a name. `format` is known once it was validated."""

    id: str
    digest: str
    size_bytes: int
    display_name: str
    labels: Mapping[str, str]
    created_ms: int
    format: str | None = None
    num_rows: int | None = None
