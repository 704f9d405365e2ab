"""The registry's records as messages of the wire."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from weft.adapters.codec import decode_alias, decode_version
from weft.adapters.errors import Violation
from weft.adapters.records import (
    Adapter,
    Alias,
    AuditEntry,
    Event,
    Manifest,
    Version,
    VersionState,
)
from weft.protos.v1 import adapters_pb2, types_pb2

TIERS = {
    "arena": types_pb2.TIER_GPU,
    "host": types_pb2.TIER_HOST,
    "disk": types_pb2.TIER_DISK,
    "store": types_pb2.TIER_STORE,
}
STATES = {
    VersionState.PUBLISHED: types_pb2.VERSION_STATE_PUBLISHED,
    VersionState.RETIRED: types_pb2.VERSION_STATE_RETIRED,
}


def alias_message(adapter: str, alias: Alias, digests: Mapping[int, str]) -> types_pb2.Alias:
    """Describe an alias that points somewhere; `digests` has the digest of each version."""
    assert alias.version is not None
    return types_pb2.Alias(
        name=f"adapters/{adapter}/aliases/{alias.name}",
        adapter=adapter,
        alias=alias.name,
        version=alias.version,
        generation=alias.generation,
        previous_version=alias.previous,
        digest=digests.get(alias.version, ""),
    )


def adapter_message(adapter: Adapter, digests: Mapping[int, str]) -> types_pb2.Adapter:
    return types_pb2.Adapter(
        name=f"adapters/{adapter.name}",
        adapter=adapter.name,
        etag=adapter.etag,
        labels=dict(adapter.labels),
        created_ms=adapter.created_ms,
        num_versions=adapter.num_versions,
        aliases=[alias_message(adapter.name, alias, digests) for alias in adapter.aliases],
    )


def version_message(
    version: Version, *, aliases: Iterable[Alias] = (), manifest: Manifest | None = None
) -> types_pb2.Version:
    """Describe a version; with its modules when the manifest is given."""
    content = version.content
    modules = manifest.modules if manifest is not None else ()
    return types_pb2.Version(
        name=f"adapters/{version.adapter}/versions/{version.number}",
        adapter=version.adapter,
        version=version.number,
        digest=content.digest,
        state=STATES[version.state],
        base=content.base,
        base_digest=content.base_digest,
        base_evidence="BASE_EVIDENCE_" + content.evidence.upper().replace(" ", "_"),
        config_digest=content.config_digest,
        config_bytes=content.config_bytes,
        weights_digest=content.weights_digest,
        weights_bytes=content.weights_bytes,
        image_bytes=content.image_bytes,
        dtype=content.dtype,
        max_rank=content.max_rank,
        modules=[
            types_pb2.AdaptedModule(module=m.name, rank=m.rank, scaling=m.scaling) for m in modules
        ],
        probe=types_pb2.Probe(
            precision=content.probe.precision,
            max_logit_change=content.probe.max_logit_change,
            max_error=content.probe.max_error,
        ),
        provenance=types_pb2.Provenance(
            publisher=content.publisher,
            job=f"jobs/{content.job}" if content.job else "",
            parent=content.parent,
            datasets=[f"datasets/{dataset}" for dataset in content.datasets],
            digest=content.provenance_digest,
        ),
        warnings=violation_messages(content.warnings),
        aliases=sorted(alias.name for alias in aliases if alias.version == version.number),
        labels=dict(content.labels),
        tokenizer_digest=content.tokenizer_digest,
        template_digest=content.template_digest,
        created_ms=version.created_ms,
    )


def violation_messages(violations: Iterable[Violation]) -> list[types_pb2.Violation]:
    return [
        types_pb2.Violation(code=v.code, path=v.path, found=v.found, expected=v.expected)
        for v in violations
    ]


def audit_message(entry: AuditEntry) -> adapters_pb2.AuditEvent:
    return adapters_pb2.AuditEvent(
        event_id=entry.entry_id,
        time_ms=entry.time_ms,
        actor=entry.by,
        action=entry.what,
        alias=entry.alias,
        from_version=entry.from_version,
        to_version=entry.to_version,
        forced=entry.forced,
        reason=entry.reason,
    )


def digests_by_adapter(versions: Iterable[Version]) -> defaultdict[str, dict[int, str]]:
    """The digest of every version, by adapter and number."""
    digests: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for version in versions:
        digests[version.adapter][version.number] = version.digest
    return digests


def event_message(event: Event, digests: Mapping[int, str]) -> adapters_pb2.AdapterEvent:
    """Describe a change by the state that results; `digests` are of the adapter's versions."""
    message = adapters_pb2.AdapterEvent(
        type="ADAPTER_EVENT_TYPE_" + event.kind.upper().replace(".", "_"),
        time_ms=event.time_ms,
        adapter=event.adapter,
    )
    if event.kind in ("version.published", "version.retired", "version.restored"):
        version = decode_version(event.tenant, event.adapter, int(event.name), event.state)
        message.version.CopyFrom(version_message(version))
    elif event.kind == "alias.set":
        alias = decode_alias(event.name, event.state)
        message.alias.CopyFrom(alias_message(event.adapter, alias, digests))
    return message
