"""What a reference means to a caller: the base, or one version of an adapter."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from weft.adapters.errors import BaseNotServed, ModelNotFound
from weft.adapters.names import (
    LATEST,
    SHARED,
    Reference,
    VersionReference,
    parse_reference,
)
from weft.adapters.records import Version, VersionContent
from weft.adapters.sites import BaseFacts
from weft.adapters.view import RegistryView
from weft.protos.v1 import types_pb2
from weft.server.errors import DeadlineExceeded, FieldViolation, RequestInvalid

from .auth import Caller
from .border import Context, metadata_of, time_left_s
from .messages import STATES, alias_message, digests_by_adapter

AFTER = "x-weft-after"
AFTER_CAP_S = 30.0


class Place(NamedTuple):
    """The order of lists: the base, the tenant's own adapters, those of all tenants."""

    is_shared: bool = False
    adapter: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """A resolved reference; without a record it is the base."""

    model: str
    digest: str
    event_id: str
    record: Version | None = None
    aliases: tuple[types_pb2.Alias, ...] = ()

    @property
    def adapter_digest(self) -> str | None:
        return self.record.digest if self.record is not None else None

    @property
    def content(self) -> VersionContent:
        assert self.record is not None
        return self.record.content

    @property
    def adapter(self) -> str:
        return self.record.adapter if self.record is not None else ""

    @property
    def version(self) -> int:
        return self.record.number if self.record is not None else 0

    @property
    def place(self) -> "Place":
        """Where it stands in lists."""
        is_shared = self.record is not None and self.record.tenant == SHARED
        return Place(is_shared, self.adapter, self.version)

    @property
    def created_ms(self) -> int:
        return self.record.created_ms if self.record is not None else 0

    @property
    def state(self) -> types_pb2.VersionState:
        if self.record is None:
            return types_pb2.VERSION_STATE_UNSPECIFIED
        return STATES[self.record.state]


class Targets:
    """Resolves references from the registry's copy, never from Redis."""

    def __init__(self, facts: BaseFacts, view: RegistryView) -> None:
        self._facts = facts
        self._view = view

    async def resolve(self, caller: Caller, reference: str, context: Context) -> Target:
        """Say what a reference means, after the event that the caller has seen.

        Raises:
            ModelNotFound: It names nothing that the caller may know of.
            VersionRetired: What it names is retired.
            BaseNotServed: The version was made for another base.
        """
        await self._wait_for_callers_event(context)
        if reference == self._facts.name:
            return self.base()
        resolved = self._view.resolve(caller.tenant, reference)
        content = resolved.record.content
        if content.base_digest != self._facts.digest:
            raise BaseNotServed(
                f"{resolved.record.model} was made for base {content.base}, "
                f"this server has {self._facts.name}",
                base=content.base_digest,
                served=self._facts.digest,
            )
        return self._target(resolved.record)

    async def resolve_adapter(self, caller: Caller, reference: str, context: Context) -> Target:
        """Resolve a reference that must mean an adapter; the base has no files of this kind."""
        target = await self.resolve(caller, reference, context)
        if target.record is None:
            raise ModelNotFound(f"{reference} is the base model, not an adapter")
        return target

    def resolved(self, target: Target) -> types_pb2.ResolvedAdapter:
        """Say what a reference was resolved to."""
        return types_pb2.ResolvedAdapter(
            model=target.model,
            adapter=target.adapter,
            version=target.version,
            digest=target.digest,
            base=self._facts.name,
            base_digest=self._facts.digest,
            precision=self._facts.precision,
            event_id=target.event_id,
        )

    def require_base(self, base: str) -> None:
        """Check that a named base, by served name or digest, is this one; empty means it is."""
        if base not in ("", self._facts.name, self._facts.digest):
            raise BaseNotServed(
                f"base {base[:100]} is not served here, {self._facts.name} is",
                served=self._facts.digest,
            )

    def base(self) -> Target:
        return Target(self._facts.name, self._facts.digest, self._view.cursor)

    def list(self, caller: Caller, *, all_versions: bool, after: str = "") -> list[Target]:
        """List what the caller can name: the base, and what each adapter's name means, or all.

        Args:
            after: Page token, the model of the last one known.

        Raises:
            RequestInvalid: `after` is none.
        """
        found = sorted(
            [self.base(), *self._adapted(caller, all_versions=all_versions)],
            key=attrgetter("place"),
        )
        return [target for target in found if not after or target.place > self._read_place(after)]

    def _read_place(self, model: str) -> Place:
        if model == self._facts.name:
            return Place()
        try:
            reference: Reference | None = parse_reference(model)
        except ModelNotFound:
            reference = None
        if not isinstance(reference, VersionReference):
            violation = FieldViolation("page_token", f"{model[:100]!r} is not of a page of models")
            raise RequestInvalid((violation,))
        return Place(reference.shared, reference.adapter, reference.version)

    def _adapted(self, caller: Caller, *, all_versions: bool) -> Iterator[Target]:
        for tenant in (caller.tenant, SHARED):
            snapshot = self._view.snapshot(tenant)
            digests = digests_by_adapter(snapshot.versions)
            for adapter in snapshot.adapters:
                aliases = tuple(
                    alias_message(adapter.name, alias, digests[adapter.name])
                    for alias in adapter.aliases
                )
                latest = {alias.version for alias in adapter.aliases if alias.name == LATEST}
                for version in snapshot.versions:
                    if (
                        version.adapter == adapter.name
                        and version.content.base_digest == self._facts.digest
                        and (all_versions or version.number in latest)
                    ):
                        yield self._target(version, aliases=aliases)

    def _target(self, version: Version, *, aliases: tuple[types_pb2.Alias, ...] = ()) -> Target:
        prefix = f"{SHARED}/" if version.tenant == SHARED else ""
        return Target(
            model=prefix + version.model,
            digest=version.digest,
            event_id=self._view.cursor,
            record=version,
            aliases=aliases,
        )

    async def _wait_for_callers_event(self, context: Context) -> None:
        event_id = metadata_of(context).get(AFTER)
        if event_id is None:
            return
        try:
            async with asyncio.timeout(time_left_s(context, cap_s=AFTER_CAP_S)):
                await self._view.wait_for(event_id)
        except TimeoutError as error:
            raise DeadlineExceeded(f"event {event_id} has not arrived", where="registry") from error
        except ValueError as error:
            violation = FieldViolation(AFTER, f"{event_id[:64]!r} is no event id")
            raise RequestInvalid((violation,)) from error
