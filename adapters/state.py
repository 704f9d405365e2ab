"""What every tenant has published, as plain data, and what a reference means in it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from . import codec
from .errors import VersionRetired
from .names import SHARED, AliasReference, DigestReference, Reference, VersionReference
from .records import Adapter, Alias, Event, Version, VersionContent, VersionState


@dataclass(slots=True)
class _Named:
    """One adapter: itself, its versions by number, its aliases by name."""

    adapter: Adapter
    versions: dict[int, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)


class State:
    """Adapters by tenant and name. Events carry resulting states: a second time is harmless."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], _Named] = {}
        self._by_digest: dict[str, dict[tuple[str, str, int], Version]] = {}

    def load(self, adapters: Iterable[Adapter], versions: Iterable[Version]) -> None:
        for adapter in adapters:
            aliases = {alias.name: alias for alias in adapter.aliases}
            self._named[adapter.tenant, adapter.name] = _Named(adapter, aliases=aliases)
        for version in versions:
            self._put_version(version)

    def apply(self, event: Event) -> bool:
        """Apply a change; False if its kind is not known, and nothing was applied."""
        apply = APPLY.get(event.kind)
        if apply is None:
            return False
        apply(self, event)
        return True

    def find(self, tenant: str, adapter: str) -> "_Named | None":
        return self._named.get((tenant, adapter))

    def with_digest(self, tenant: str, digest: str) -> list[Version]:
        """List a tenant's versions of a content, the newest first."""
        versions = self._by_digest.get(digest, {}).values()
        mine = [version for version in versions if version.tenant == tenant]
        return sorted(mine, key=lambda version: version.created_ms, reverse=True)

    def find_content(self, digest: str) -> VersionContent | None:
        """Find the content that versions of any tenant name by this digest."""
        versions = self._by_digest.get(digest, {}).values()
        return next((version.content for version in versions), None)

    def adapters_of(self, tenant: str) -> tuple[Adapter, ...]:
        """List a tenant's adapters, sorted."""
        return tuple(
            replace(
                named.adapter,
                num_versions=len(named.versions),
                aliases=tuple(
                    alias for _, alias in sorted(named.aliases.items()) if alias.version is not None
                ),
            )
            for (owner, _), named in sorted(self._named.items(), key=lambda item: item[0])
            if owner == tenant
        )

    def versions_of(self, tenant: str) -> tuple[Version, ...]:
        """List a tenant's versions by adapter and number."""
        return tuple(
            version
            for (owner, _), named in sorted(self._named.items(), key=lambda item: item[0])
            if owner == tenant
            for _, version in sorted(named.versions.items())
        )

    def _put_version(self, version: Version) -> None:
        place = version.tenant, version.adapter
        if place not in self._named:
            new = Adapter(*place, "1", {}, version.created_ms, 0, ())
            self._named[place] = _Named(new)
        self._named[place].versions[version.number] = version
        self._by_digest.setdefault(version.digest, {})[*place, version.number] = version

    def _drop_version(self, version: Version) -> None:
        holders = self._by_digest[version.digest]
        del holders[version.tenant, version.adapter, version.number]
        if not holders:
            del self._by_digest[version.digest]

    def _version_changed(self, event: Event) -> None:
        number = int(event.name)
        self._put_version(codec.decode_version(event.tenant, event.adapter, number, event.state))

    def _version_deleted(self, event: Event) -> None:
        named = self.find(event.tenant, event.adapter)
        version = named.versions.pop(int(event.name), None) if named else None
        if version is not None:
            self._drop_version(version)

    def _alias_changed(self, event: Event) -> None:
        named = self.find(event.tenant, event.adapter)
        alias = codec.decode_alias(event.name, event.state)
        if named is None:
            return
        known = named.aliases.get(event.name)
        if known is None or alias.generation > known.generation:
            named.aliases[event.name] = alias

    def _labels_changed(self, event: Event) -> None:
        named = self.find(event.tenant, event.adapter)
        if named is not None:
            etag = event.name
            labels = codec.decode_labels(event.state)
            named.adapter = replace(named.adapter, etag=etag, labels=labels)

    def _adapter_deleted(self, event: Event) -> None:
        named = self._named.pop((event.tenant, event.adapter), None)
        for version in named.versions.values() if named else ():
            self._drop_version(version)


APPLY: dict[str, Callable[[State, Event], None]] = {
    "version.published": State._version_changed,
    "version.retired": State._version_changed,
    "version.restored": State._version_changed,
    "version.deleted": State._version_deleted,
    "alias.set": State._alias_changed,
    "alias.deleted": State._alias_changed,
    "adapter.updated": State._labels_changed,
    "adapter.deleted": State._adapter_deleted,
}


@dataclass(frozen=True, slots=True)
class Resolution:
    """What references mean to one tenant."""

    state: State
    tenant: str

    def resolve(self, reference: Reference) -> Version | None:
        """Find the version, None if there is none.

        Raises:
            VersionRetired: There is one, and it is retired.
        """
        match reference:
            case DigestReference(digest):
                found = self._with_digest(digest)
            case VersionReference(shared, adapter, number):
                found = self._numbered(shared, adapter, number)
            case AliasReference(shared, adapter, alias):
                found = self._aliased(shared, adapter, alias)
        if found is not None and found.state is VersionState.RETIRED:
            raise VersionRetired(f"{found.model} is retired", state=found.state.value)
        return found

    def _with_digest(self, digest: str) -> Version | None:
        mine = self.state.with_digest(self.tenant, digest)
        found = mine + self.state.with_digest(SHARED, digest)
        served = [version for version in found if version.state is VersionState.PUBLISHED]
        return next(iter(served + found), None)

    def _numbered(self, shared: bool, adapter: str, number: int) -> Version | None:
        named = self.state.find(SHARED if shared else self.tenant, adapter)
        return named.versions.get(number) if named else None

    def _aliased(self, shared: bool, adapter: str, alias: str) -> Version | None:
        named = self.state.find(SHARED if shared else self.tenant, adapter)
        pointer = named.aliases.get(alias) if named else None
        if named is None or pointer is None or pointer.version is None:
            return None
        return named.versions.get(pointer.version)
