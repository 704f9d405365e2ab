from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_GPU: _ClassVar[Tier]
    TIER_HOST: _ClassVar[Tier]
    TIER_DISK: _ClassVar[Tier]
    TIER_STORE: _ClassVar[Tier]

class VersionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERSION_STATE_UNSPECIFIED: _ClassVar[VersionState]
    VERSION_STATE_PUBLISHED: _ClassVar[VersionState]
    VERSION_STATE_RETIRED: _ClassVar[VersionState]
    VERSION_STATE_DELETED: _ClassVar[VersionState]

class BaseEvidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BASE_EVIDENCE_UNSPECIFIED: _ClassVar[BaseEvidence]
    BASE_EVIDENCE_DIGEST: _ClassVar[BaseEvidence]
    BASE_EVIDENCE_NAME_AND_REVISION: _ClassVar[BaseEvidence]
    BASE_EVIDENCE_NAME: _ClassVar[BaseEvidence]
    BASE_EVIDENCE_ASSERTED: _ClassVar[BaseEvidence]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_HIGH: Priority
PRIORITY_NORMAL: Priority
PRIORITY_LOW: Priority
TIER_UNSPECIFIED: Tier
TIER_GPU: Tier
TIER_HOST: Tier
TIER_DISK: Tier
TIER_STORE: Tier
VERSION_STATE_UNSPECIFIED: VersionState
VERSION_STATE_PUBLISHED: VersionState
VERSION_STATE_RETIRED: VersionState
VERSION_STATE_DELETED: VersionState
BASE_EVIDENCE_UNSPECIFIED: BaseEvidence
BASE_EVIDENCE_DIGEST: BaseEvidence
BASE_EVIDENCE_NAME_AND_REVISION: BaseEvidence
BASE_EVIDENCE_NAME: BaseEvidence
BASE_EVIDENCE_ASSERTED: BaseEvidence

class Violation(_message.Message):
    __slots__ = ("code", "path", "found", "expected")
    CODE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    code: str
    path: str
    found: str
    expected: str
    def __init__(self, code: _Optional[str] = ..., path: _Optional[str] = ..., found: _Optional[str] = ..., expected: _Optional[str] = ...) -> None: ...

class Adapter(_message.Message):
    __slots__ = ("name", "adapter", "etag", "labels", "created_ms", "num_versions", "aliases")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    NUM_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    name: str
    adapter: str
    etag: str
    labels: _containers.ScalarMap[str, str]
    created_ms: int
    num_versions: int
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    def __init__(self, name: _Optional[str] = ..., adapter: _Optional[str] = ..., etag: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., created_ms: _Optional[int] = ..., num_versions: _Optional[int] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "adapter", "alias", "version", "generation", "previous_version", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    adapter: str
    alias: str
    version: int
    generation: int
    previous_version: int
    digest: str
    def __init__(self, name: _Optional[str] = ..., adapter: _Optional[str] = ..., alias: _Optional[str] = ..., version: _Optional[int] = ..., generation: _Optional[int] = ..., previous_version: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class AdaptedModule(_message.Message):
    __slots__ = ("module", "rank", "scaling")
    MODULE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCALING_FIELD_NUMBER: _ClassVar[int]
    module: str
    rank: int
    scaling: float
    def __init__(self, module: _Optional[str] = ..., rank: _Optional[int] = ..., scaling: _Optional[float] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("precision", "max_logit_change", "max_error")
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    MAX_LOGIT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_FIELD_NUMBER: _ClassVar[int]
    precision: str
    max_logit_change: float
    max_error: float
    def __init__(self, precision: _Optional[str] = ..., max_logit_change: _Optional[float] = ..., max_error: _Optional[float] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("publisher", "job", "parent", "datasets", "digest")
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    publisher: str
    job: str
    parent: str
    datasets: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    def __init__(self, publisher: _Optional[str] = ..., job: _Optional[str] = ..., parent: _Optional[str] = ..., datasets: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("name", "adapter", "version", "digest", "state", "base", "base_digest", "base_evidence", "config_digest", "config_bytes", "weights_digest", "weights_bytes", "image_bytes", "dtype", "max_rank", "modules", "probe", "provenance", "warnings", "aliases", "labels", "tokenizer_digest", "template_digest", "created_ms")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CONFIG_BYTES_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_BYTES_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    MAX_RANK_FIELD_NUMBER: _ClassVar[int]
    MODULES_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TOKENIZER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    name: str
    adapter: str
    version: int
    digest: str
    state: VersionState
    base: str
    base_digest: str
    base_evidence: BaseEvidence
    config_digest: str
    config_bytes: int
    weights_digest: str
    weights_bytes: int
    image_bytes: int
    dtype: str
    max_rank: int
    modules: _containers.RepeatedCompositeFieldContainer[AdaptedModule]
    probe: Probe
    provenance: Provenance
    warnings: _containers.RepeatedCompositeFieldContainer[Violation]
    aliases: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.ScalarMap[str, str]
    tokenizer_digest: str
    template_digest: str
    created_ms: int
    def __init__(self, name: _Optional[str] = ..., adapter: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., state: _Optional[_Union[VersionState, str]] = ..., base: _Optional[str] = ..., base_digest: _Optional[str] = ..., base_evidence: _Optional[_Union[BaseEvidence, str]] = ..., config_digest: _Optional[str] = ..., config_bytes: _Optional[int] = ..., weights_digest: _Optional[str] = ..., weights_bytes: _Optional[int] = ..., image_bytes: _Optional[int] = ..., dtype: _Optional[str] = ..., max_rank: _Optional[int] = ..., modules: _Optional[_Iterable[_Union[AdaptedModule, _Mapping]]] = ..., probe: _Optional[_Union[Probe, _Mapping]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[Violation, _Mapping]]] = ..., aliases: _Optional[_Iterable[str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., tokenizer_digest: _Optional[str] = ..., template_digest: _Optional[str] = ..., created_ms: _Optional[int] = ...) -> None: ...

class ResolvedAdapter(_message.Message):
    __slots__ = ("model", "adapter", "version", "digest", "base", "base_digest", "precision", "event_id", "seed", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    adapter: str
    version: int
    digest: str
    base: str
    base_digest: str
    precision: str
    event_id: str
    seed: int
    request_id: str
    def __init__(self, model: _Optional[str] = ..., adapter: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., base: _Optional[str] = ..., base_digest: _Optional[str] = ..., precision: _Optional[str] = ..., event_id: _Optional[str] = ..., seed: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class AliasMove(_message.Message):
    __slots__ = ("alias", "expected_generation")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    alias: str
    expected_generation: int
    def __init__(self, alias: _Optional[str] = ..., expected_generation: _Optional[int] = ...) -> None: ...
