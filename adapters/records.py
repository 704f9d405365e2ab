"""What the registry keeps: frozen records, stored as JSON.

A record that an older server changes keeps the fields that a newer one added: what is stored is
edited, never rebuilt from the record.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .errors import Violation


class VersionState(Enum):
    PUBLISHED = "PUBLISHED"
    RETIRED = "RETIRED"


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe measured of an adapter that it let pass.

    Attributes:
        precision: Serving dtype and quantisation that it ran on.
        max_logit_change: Largest absolute change of one of the probe's logits.
        max_error: Largest relative error of a site against plain torch.
    """

    precision: str
    max_logit_change: float
    max_error: float


@dataclass(frozen=True, slots=True)
class ManifestModule:
    """One Linear that an adapter changes; `scaling` is alpha / rank or alpha / √rank."""

    name: str
    rank: int
    scaling: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an adapter digest is."""

    base_digest: str
    dtype: str
    modules: tuple[ManifestModule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionContent:
    """What a version says; it never changes.

    Attributes:
        digest: Of the adapter: its identity.
        config_digest, weights_digest: Of the two files as they came.
        image_digest, layout_id: Of the packed image, and which layout that is.
        evidence: Why the base is believed.
        dtype: Of the stored tensors.
        publisher: Label of the key, or the worker.
        job: Id of the job that made it, or empty.
        parent: Version that training continued from, or empty.
    """

    digest: str
    config_digest: str
    config_bytes: int
    weights_digest: str
    weights_bytes: int
    image_digest: str
    image_bytes: int
    layout_id: str
    base: str
    base_digest: str
    evidence: str
    dtype: str
    max_rank: int
    probe: ProbeReport
    publisher: str
    job: str = ""
    parent: str = ""
    datasets: tuple[str, ...] = ()
    provenance_digest: str = ""
    warnings: tuple[Violation, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    tokenizer_digest: str = ""
    template_digest: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A published version: a number of an adapter, and what it names."""

    tenant: str
    adapter: str
    number: int
    state: VersionState
    created_ms: int
    content: VersionContent

    @property
    def digest(self) -> str:
        return self.content.digest

    @property
    def model(self) -> str:
        """The reference that means exactly this version."""
        return f"{self.adapter}@{self.number}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable pointer; `version` is None when it was deleted and only its generation is kept."""

    name: str
    version: int | None
    generation: int
    previous: int | None


@dataclass(frozen=True, slots=True)
class Adapter:
    """A name and its aliases, sorted."""

    tenant: str
    name: str
    etag: str
    labels: Mapping[str, str]
    created_ms: int
    num_versions: int
    aliases: tuple[Alias, ...]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what. `alias` is empty when none was moved; the versions are where it pointed
    and points, or `to_version` is the one that was changed."""

    entry_id: str
    time_ms: int
    what: str
    alias: str
    from_version: int | None
    to_version: int | None
    by: str
    reason: str
    forced: bool


@dataclass(frozen=True, slots=True)
class Event:
    """One visible change. `state` is the JSON of the resulting state, empty for a deletion."""

    event_id: str
    kind: str
    tenant: str
    adapter: str
    name: str
    state: bytes

    @property
    def time_ms(self) -> int:
        return int(self.event_id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Call:
    """Who makes a change, and the id under which a repeat returns the first answer."""

    tenant: str
    by: str
    request_id: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AliasMove:
    """An alias to be moved; `expected_generation` 0 = must not exist, None = whatever it is."""

    name: str
    expected_generation: int | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """A version to be made visible, with the aliases that move with it."""

    adapter: str
    content: VersionContent
    aliases: tuple[AliasMove, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """A version made visible; `conflicts` are the aliases that were not moved."""

    version: Version
    event_id: str
    conflicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AliasMoved:
    """An alias after its move."""

    alias: Alias
    event_id: str


@dataclass(frozen=True, slots=True)
class VersionChanged:
    """A version after its state changed, or as it was before it was deleted."""

    version: Version
    event_id: str


@dataclass(frozen=True, slots=True)
class AdapterChanged:
    """An adapter after its labels changed."""

    adapter: Adapter
    event_id: str
