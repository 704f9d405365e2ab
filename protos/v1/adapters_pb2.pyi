from weft.protos.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishStep(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLISH_STEP_UNSPECIFIED: _ClassVar[PublishStep]
    PUBLISH_STEP_FETCH: _ClassVar[PublishStep]
    PUBLISH_STEP_CHECK: _ClassVar[PublishStep]
    PUBLISH_STEP_IMAGE: _ClassVar[PublishStep]
    PUBLISH_STEP_PROBE: _ClassVar[PublishStep]
    PUBLISH_STEP_PUBLISH: _ClassVar[PublishStep]

class AdapterEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAPTER_EVENT_TYPE_UNSPECIFIED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_VERSION_PUBLISHED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_VERSION_RETIRED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_VERSION_RESTORED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_VERSION_DELETED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_ALIAS_SET: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_ALIAS_DELETED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_ADAPTER_DELETED: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_PIN_SET: _ClassVar[AdapterEventType]
    ADAPTER_EVENT_TYPE_ADAPTER_UPDATED: _ClassVar[AdapterEventType]
PUBLISH_STEP_UNSPECIFIED: PublishStep
PUBLISH_STEP_FETCH: PublishStep
PUBLISH_STEP_CHECK: PublishStep
PUBLISH_STEP_IMAGE: PublishStep
PUBLISH_STEP_PROBE: PublishStep
PUBLISH_STEP_PUBLISH: PublishStep
ADAPTER_EVENT_TYPE_UNSPECIFIED: AdapterEventType
ADAPTER_EVENT_TYPE_VERSION_PUBLISHED: AdapterEventType
ADAPTER_EVENT_TYPE_VERSION_RETIRED: AdapterEventType
ADAPTER_EVENT_TYPE_VERSION_RESTORED: AdapterEventType
ADAPTER_EVENT_TYPE_VERSION_DELETED: AdapterEventType
ADAPTER_EVENT_TYPE_ALIAS_SET: AdapterEventType
ADAPTER_EVENT_TYPE_ALIAS_DELETED: AdapterEventType
ADAPTER_EVENT_TYPE_ADAPTER_DELETED: AdapterEventType
ADAPTER_EVENT_TYPE_PIN_SET: AdapterEventType
ADAPTER_EVENT_TYPE_ADAPTER_UPDATED: AdapterEventType

class BlobKey(_message.Message):
    __slots__ = ("digest", "size_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class FindMissingRequest(_message.Message):
    __slots__ = ("blobs",)
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    blobs: _containers.RepeatedCompositeFieldContainer[BlobKey]
    def __init__(self, blobs: _Optional[_Iterable[_Union[BlobKey, _Mapping]]] = ...) -> None: ...

class FindMissingResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, digests: _Optional[_Iterable[str]] = ...) -> None: ...

class Upload(_message.Message):
    __slots__ = ("upload", "digest", "size_bytes", "committed_bytes", "chunk_bytes", "expires_ms")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_BYTES_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_MS_FIELD_NUMBER: _ClassVar[int]
    upload: str
    digest: str
    size_bytes: int
    committed_bytes: int
    chunk_bytes: int
    expires_ms: int
    def __init__(self, upload: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., committed_bytes: _Optional[int] = ..., chunk_bytes: _Optional[int] = ..., expires_ms: _Optional[int] = ...) -> None: ...

class CreateUploadRequest(_message.Message):
    __slots__ = ("digest", "size_bytes", "request_id")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    request_id: str
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class CreateUploadResponse(_message.Message):
    __slots__ = ("upload",)
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    upload: Upload
    def __init__(self, upload: _Optional[_Union[Upload, _Mapping]] = ...) -> None: ...

class WriteUploadRequest(_message.Message):
    __slots__ = ("upload", "offset_bytes", "data")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    upload: str
    offset_bytes: int
    data: bytes
    def __init__(self, upload: _Optional[str] = ..., offset_bytes: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class WriteUploadResponse(_message.Message):
    __slots__ = ("committed_bytes",)
    COMMITTED_BYTES_FIELD_NUMBER: _ClassVar[int]
    committed_bytes: int
    def __init__(self, committed_bytes: _Optional[int] = ...) -> None: ...

class GetUploadRequest(_message.Message):
    __slots__ = ("upload",)
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    upload: str
    def __init__(self, upload: _Optional[str] = ...) -> None: ...

class GetUploadResponse(_message.Message):
    __slots__ = ("upload",)
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    upload: Upload
    def __init__(self, upload: _Optional[_Union[Upload, _Mapping]] = ...) -> None: ...

class CommitUploadRequest(_message.Message):
    __slots__ = ("upload", "request_id")
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    upload: str
    request_id: str
    def __init__(self, upload: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class CommitUploadResponse(_message.Message):
    __slots__ = ("digest", "size_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: str
    size_bytes: int
    def __init__(self, digest: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class PublishAdapterRequest(_message.Message):
    __slots__ = ("adapter", "config_digest", "weights_digest", "base", "assert_base", "aliases", "no_latest", "labels", "allow_no_effect", "validate_only", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    ASSERT_BASE_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NO_LATEST_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NO_EFFECT_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    adapter: str
    config_digest: str
    weights_digest: str
    base: str
    assert_base: bool
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.AliasMove]
    no_latest: bool
    labels: _containers.ScalarMap[str, str]
    allow_no_effect: bool
    validate_only: bool
    request_id: str
    def __init__(self, adapter: _Optional[str] = ..., config_digest: _Optional[str] = ..., weights_digest: _Optional[str] = ..., base: _Optional[str] = ..., assert_base: _Optional[bool] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.AliasMove, _Mapping]]] = ..., no_latest: _Optional[bool] = ..., labels: _Optional[_Mapping[str, str]] = ..., allow_no_effect: _Optional[bool] = ..., validate_only: _Optional[bool] = ..., request_id: _Optional[str] = ...) -> None: ...

class PublishAdapterResponse(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: PublishProgress
    result: PublishResult
    def __init__(self, progress: _Optional[_Union[PublishProgress, _Mapping]] = ..., result: _Optional[_Union[PublishResult, _Mapping]] = ...) -> None: ...

class PublishProgress(_message.Message):
    __slots__ = ("step", "done", "elapsed_ms", "detail")
    STEP_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    step: PublishStep
    done: bool
    elapsed_ms: float
    detail: str
    def __init__(self, step: _Optional[_Union[PublishStep, str]] = ..., done: _Optional[bool] = ..., elapsed_ms: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...

class PublishResult(_message.Message):
    __slots__ = ("version", "aliases", "event_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Alias]
    event_id: str
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., aliases: _Optional[_Iterable[_Union[_types_pb2.Alias, _Mapping]]] = ..., event_id: _Optional[str] = ...) -> None: ...

class CheckAdapterRequest(_message.Message):
    __slots__ = ("config_digest", "weights_digest", "base", "assert_base", "allow_no_effect")
    CONFIG_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    ASSERT_BASE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_NO_EFFECT_FIELD_NUMBER: _ClassVar[int]
    config_digest: str
    weights_digest: str
    base: str
    assert_base: bool
    allow_no_effect: bool
    def __init__(self, config_digest: _Optional[str] = ..., weights_digest: _Optional[str] = ..., base: _Optional[str] = ..., assert_base: _Optional[bool] = ..., allow_no_effect: _Optional[bool] = ...) -> None: ...

class CheckAdapterResponse(_message.Message):
    __slots__ = ("digest", "violations", "warnings", "image_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: str
    violations: _containers.RepeatedCompositeFieldContainer[_types_pb2.Violation]
    warnings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Violation]
    image_bytes: int
    def __init__(self, digest: _Optional[str] = ..., violations: _Optional[_Iterable[_Union[_types_pb2.Violation, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[_types_pb2.Violation, _Mapping]]] = ..., image_bytes: _Optional[int] = ...) -> None: ...

class DownloadFileRequest(_message.Message):
    __slots__ = ("model", "file", "offset_bytes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_BYTES_FIELD_NUMBER: _ClassVar[int]
    model: str
    file: str
    offset_bytes: int
    def __init__(self, model: _Optional[str] = ..., file: _Optional[str] = ..., offset_bytes: _Optional[int] = ...) -> None: ...

class DownloadFileResponse(_message.Message):
    __slots__ = ("file", "data")
    FILE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    file: FileInfo
    data: bytes
    def __init__(self, file: _Optional[_Union[FileInfo, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class FileInfo(_message.Message):
    __slots__ = ("file", "digest", "size_bytes", "model")
    FILE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    file: str
    digest: str
    size_bytes: int
    model: str
    def __init__(self, file: _Optional[str] = ..., digest: _Optional[str] = ..., size_bytes: _Optional[int] = ..., model: _Optional[str] = ...) -> None: ...

class GetAdapterRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetAdapterResponse(_message.Message):
    __slots__ = ("adapter",)
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    adapter: _types_pb2.Adapter
    def __init__(self, adapter: _Optional[_Union[_types_pb2.Adapter, _Mapping]] = ...) -> None: ...

class ListAdaptersRequest(_message.Message):
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

class ListAdaptersResponse(_message.Message):
    __slots__ = ("adapters", "next_page_token")
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    adapters: _containers.RepeatedCompositeFieldContainer[_types_pb2.Adapter]
    next_page_token: str
    def __init__(self, adapters: _Optional[_Iterable[_Union[_types_pb2.Adapter, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class UpdateAdapterRequest(_message.Message):
    __slots__ = ("name", "etag", "labels", "request_id")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    labels: _containers.ScalarMap[str, str]
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class UpdateAdapterResponse(_message.Message):
    __slots__ = ("adapter",)
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    adapter: _types_pb2.Adapter
    def __init__(self, adapter: _Optional[_Union[_types_pb2.Adapter, _Mapping]] = ...) -> None: ...

class DeleteAdapterRequest(_message.Message):
    __slots__ = ("name", "etag", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    etag: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., etag: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteAdapterResponse(_message.Message):
    __slots__ = ("event_id",)
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    def __init__(self, event_id: _Optional[str] = ...) -> None: ...

class GetVersionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListVersionsResponse(_message.Message):
    __slots__ = ("versions", "next_page_token")
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    versions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Version]
    next_page_token: str
    def __init__(self, versions: _Optional[_Iterable[_Union[_types_pb2.Version, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetireVersionRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RetireVersionResponse(_message.Message):
    __slots__ = ("version", "event_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    event_id: str
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class RestoreVersionRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RestoreVersionResponse(_message.Message):
    __slots__ = ("version", "event_id")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    version: _types_pb2.Version
    event_id: str
    def __init__(self, version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class DeleteVersionRequest(_message.Message):
    __slots__ = ("name", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteVersionResponse(_message.Message):
    __slots__ = ("event_id",)
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    def __init__(self, event_id: _Optional[str] = ...) -> None: ...

class SetAliasRequest(_message.Message):
    __slots__ = ("name", "version", "expected_generation", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    expected_generation: int
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., expected_generation: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class SetAliasResponse(_message.Message):
    __slots__ = ("alias", "event_id")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    alias: _types_pb2.Alias
    event_id: str
    def __init__(self, alias: _Optional[_Union[_types_pb2.Alias, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class DeleteAliasRequest(_message.Message):
    __slots__ = ("name", "expected_generation", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_generation: int
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., expected_generation: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class DeleteAliasResponse(_message.Message):
    __slots__ = ("event_id",)
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    def __init__(self, event_id: _Optional[str] = ...) -> None: ...

class RollbackAliasRequest(_message.Message):
    __slots__ = ("name", "expected_generation", "reason", "request_id")
    NAME_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_GENERATION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    name: str
    expected_generation: int
    reason: str
    request_id: str
    def __init__(self, name: _Optional[str] = ..., expected_generation: _Optional[int] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class RollbackAliasResponse(_message.Message):
    __slots__ = ("alias", "event_id")
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    alias: _types_pb2.Alias
    event_id: str
    def __init__(self, alias: _Optional[_Union[_types_pb2.Alias, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class ListAliasesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAliasesResponse(_message.Message):
    __slots__ = ("aliases", "next_page_token")
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    aliases: _containers.RepeatedCompositeFieldContainer[_types_pb2.Alias]
    next_page_token: str
    def __init__(self, aliases: _Optional[_Iterable[_Union[_types_pb2.Alias, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ListAuditEventsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAuditEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[AuditEvent]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[AuditEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class AuditEvent(_message.Message):
    __slots__ = ("event_id", "time_ms", "actor", "action", "alias", "from_version", "to_version", "forced", "reason")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    FROM_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_VERSION_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    time_ms: int
    actor: str
    action: str
    alias: str
    from_version: int
    to_version: int
    forced: bool
    reason: str
    def __init__(self, event_id: _Optional[str] = ..., time_ms: _Optional[int] = ..., actor: _Optional[str] = ..., action: _Optional[str] = ..., alias: _Optional[str] = ..., from_version: _Optional[int] = ..., to_version: _Optional[int] = ..., forced: _Optional[bool] = ..., reason: _Optional[str] = ...) -> None: ...

class WatchAdaptersRequest(_message.Message):
    __slots__ = ("cursor",)
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    def __init__(self, cursor: _Optional[str] = ...) -> None: ...

class WatchAdaptersResponse(_message.Message):
    __slots__ = ("cursor", "snapshot", "change")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    snapshot: AdapterSnapshot
    change: AdapterEvent
    def __init__(self, cursor: _Optional[str] = ..., snapshot: _Optional[_Union[AdapterSnapshot, _Mapping]] = ..., change: _Optional[_Union[AdapterEvent, _Mapping]] = ...) -> None: ...

class AdapterSnapshot(_message.Message):
    __slots__ = ("adapters", "versions", "complete")
    ADAPTERS_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    adapters: _containers.RepeatedCompositeFieldContainer[_types_pb2.Adapter]
    versions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Version]
    complete: bool
    def __init__(self, adapters: _Optional[_Iterable[_Union[_types_pb2.Adapter, _Mapping]]] = ..., versions: _Optional[_Iterable[_Union[_types_pb2.Version, _Mapping]]] = ..., complete: _Optional[bool] = ...) -> None: ...

class AdapterEvent(_message.Message):
    __slots__ = ("type", "time_ms", "adapter", "version", "alias", "pin")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    type: AdapterEventType
    time_ms: int
    adapter: str
    version: _types_pb2.Version
    alias: _types_pb2.Alias
    pin: Pin
    def __init__(self, type: _Optional[_Union[AdapterEventType, str]] = ..., time_ms: _Optional[int] = ..., adapter: _Optional[str] = ..., version: _Optional[_Union[_types_pb2.Version, _Mapping]] = ..., alias: _Optional[_Union[_types_pb2.Alias, _Mapping]] = ..., pin: _Optional[_Union[Pin, _Mapping]] = ...) -> None: ...

class WarmAdapterRequest(_message.Message):
    __slots__ = ("model", "tier")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    model: str
    tier: _types_pb2.Tier
    def __init__(self, model: _Optional[str] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ...) -> None: ...

class WarmAdapterResponse(_message.Message):
    __slots__ = ("resolved", "tier", "elapsed_ms")
    RESOLVED_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    resolved: _types_pb2.ResolvedAdapter
    tier: _types_pb2.Tier
    elapsed_ms: float
    def __init__(self, resolved: _Optional[_Union[_types_pb2.ResolvedAdapter, _Mapping]] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., elapsed_ms: _Optional[float] = ...) -> None: ...

class Pin(_message.Message):
    __slots__ = ("digest", "tier")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    digest: str
    tier: _types_pb2.Tier
    def __init__(self, digest: _Optional[str] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ...) -> None: ...

class PinAdapterRequest(_message.Message):
    __slots__ = ("model", "tier", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    tier: _types_pb2.Tier
    request_id: str
    def __init__(self, model: _Optional[str] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., request_id: _Optional[str] = ...) -> None: ...

class PinAdapterResponse(_message.Message):
    __slots__ = ("pin", "event_id")
    PIN_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    pin: Pin
    event_id: str
    def __init__(self, pin: _Optional[_Union[Pin, _Mapping]] = ..., event_id: _Optional[str] = ...) -> None: ...

class UnpinAdapterRequest(_message.Message):
    __slots__ = ("model", "request_id")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    model: str
    request_id: str
    def __init__(self, model: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class UnpinAdapterResponse(_message.Message):
    __slots__ = ("event_id",)
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    def __init__(self, event_id: _Optional[str] = ...) -> None: ...

class ListResidencyRequest(_message.Message):
    __slots__ = ("model", "page_size", "page_token")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    model: str
    page_size: int
    page_token: str
    def __init__(self, model: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListResidencyResponse(_message.Message):
    __slots__ = ("residency", "next_page_token")
    RESIDENCY_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    residency: _containers.RepeatedCompositeFieldContainer[Residency]
    next_page_token: str
    def __init__(self, residency: _Optional[_Iterable[_Union[Residency, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Residency(_message.Message):
    __slots__ = ("digest", "models", "server", "tier", "image_bytes", "pinned", "last_use_ms")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    SERVER_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    IMAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    LAST_USE_MS_FIELD_NUMBER: _ClassVar[int]
    digest: str
    models: _containers.RepeatedScalarFieldContainer[str]
    server: str
    tier: _types_pb2.Tier
    image_bytes: int
    pinned: bool
    last_use_ms: int
    def __init__(self, digest: _Optional[str] = ..., models: _Optional[_Iterable[str]] = ..., server: _Optional[str] = ..., tier: _Optional[_Union[_types_pb2.Tier, str]] = ..., image_bytes: _Optional[int] = ..., pinned: _Optional[bool] = ..., last_use_ms: _Optional[int] = ...) -> None: ...
