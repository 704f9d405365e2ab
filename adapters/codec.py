"""Between what Redis returns and the registry's records."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from .records import Adapter, Alias, AuditEntry, Event, Version, VersionContent, VersionState

Fields = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _StoredVersion:
    state: VersionState
    created_ms: int
    content: VersionContent


@dataclass(frozen=True, slots=True)
class _StoredAlias:
    version: int | None
    generation: int
    previous: int | None


def raw_fields(reply: object) -> Fields:
    """Type a hash as the package's clients return it: they never decode."""
    return cast("Fields", reply)


def raw_strings(reply: object) -> Collection[bytes]:
    """Type a list or a set, likewise."""
    return cast("Collection[bytes]", reply)


def raw_entries(reply: object) -> list[tuple[bytes, Fields]]:
    """Type a stream's entries, likewise."""
    return cast("list[tuple[bytes, Fields]]", reply or [])


def encode_version(content: VersionContent) -> str:
    """Write a new version's JSON; the script that publishes it adds the time."""
    state = {"state": VersionState.PUBLISHED.value, "content": content}
    return msgspec.json.encode(state).decode()


def decode_version(tenant: str, adapter: str, number: int, text: bytes) -> Version:
    stored = msgspec.json.decode(text, type=_StoredVersion)
    return Version(tenant, adapter, number, stored.state, stored.created_ms, stored.content)


def with_state(text: bytes, state: VersionState) -> str:
    """Change the state in a version's JSON and keep everything else, known or not."""
    fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    fields["state"] = msgspec.Raw(msgspec.json.encode(state))
    return msgspec.json.encode(fields).decode()


def decode_alias(name: str, text: bytes) -> Alias:
    stored = msgspec.json.decode(text, type=_StoredAlias)
    return Alias(name, stored.version, stored.generation, stored.previous)


def decode_aliases(fields: Fields) -> tuple[Alias, ...]:
    """Read an adapter's aliases, sorted, the deleted ones among them."""
    return tuple(decode_alias(name.decode(), text) for name, text in sorted(fields.items()))


def decode_labels(text: bytes) -> dict[str, str]:
    return msgspec.json.decode(text, type=dict[str, str])


def decode_adapter(
    tenant: str, name: str, fields: Fields, *, num_versions: int, aliases: tuple[Alias, ...]
) -> Adapter:
    return Adapter(
        tenant,
        name,
        fields[b"etag"].decode(),
        decode_labels(fields[b"labels"]),
        int(fields[b"created_ms"]),
        num_versions,
        tuple(alias for alias in aliases if alias.version is not None),
    )


def decode_event(event_id: bytes, fields: Fields) -> Event:
    return Event(
        event_id.decode(),
        fields[b"kind"].decode(),
        fields[b"tenant"].decode(),
        fields[b"adapter"].decode(),
        fields[b"name"].decode(),
        fields[b"state"],
    )


def decode_audit(entry_id: bytes, fields: Fields) -> AuditEntry:
    return AuditEntry(
        entry_id.decode(),
        int(entry_id.partition(b"-")[0]),
        fields[b"what"].decode(),
        fields[b"alias"].decode(),
        _number(fields[b"from"]),
        _number(fields[b"to"]),
        fields[b"by"].decode(),
        fields[b"reason"].decode(),
        fields[b"forced"] == b"1",
    )


def _number(text: bytes) -> int | None:
    return int(text) if text else None
