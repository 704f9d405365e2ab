"""AdapterService, the half about names: adapters, versions, aliases, audit and events."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

from weft.adapters.catalogue import Catalogue
from weft.adapters.names import is_name
from weft.adapters.records import Alias, Event
from weft.adapters.registry import Registry
from weft.adapters.removal import Removal
from weft.adapters.view import RegistryView, Snapshot
from weft.protos.v1 import adapters_pb2, types_pb2

from .auth import CALLER
from .border import Context
from .fields import (
    Findings,
    call_of,
    read_event_id,
    read_labels,
    read_name,
    read_page_size,
    read_version_number,
)
from .messages import (
    adapter_message,
    alias_message,
    audit_message,
    digests_by_adapter,
    event_message,
    version_message,
)

T = TypeVar("T")
PIECE = 200  # adapters or versions of one message of a snapshot


class NameCalls:
    """Calls that change or read what references mean; everything is the caller's tenant's own."""

    _registry: Registry
    _removal: Removal
    _catalogue: Catalogue
    _view: RegistryView

    async def GetAdapter(
        self, request: adapters_pb2.GetAdapterRequest, context: Context
    ) -> adapters_pb2.GetAdapterResponse:
        (name,) = read_name("adapters/{}", request.name)
        return adapters_pb2.GetAdapterResponse(adapter=await self._adapter(name))

    async def ListAdapters(
        self, request: adapters_pb2.ListAdaptersRequest, context: Context
    ) -> adapters_pb2.ListAdaptersResponse:
        size = read_page_size(request.page_size)
        tenant = CALLER.get().tenant
        page = await self._catalogue.list_adapters(
            tenant, after=request.page_token, limit=size + 1, labels=dict(request.labels)
        )
        digests = digests_by_adapter(self._view.snapshot(tenant).versions)
        return adapters_pb2.ListAdaptersResponse(
            adapters=[adapter_message(adapter, digests[adapter.name]) for adapter in page[:size]],
            next_page_token=page[size - 1].name if len(page) > size else "",
        )

    async def UpdateAdapter(
        self, request: adapters_pb2.UpdateAdapterRequest, context: Context
    ) -> adapters_pb2.UpdateAdapterResponse:
        (name,) = read_name("adapters/{}", request.name)
        labels = read_labels(request.labels)
        await self._registry.update_labels(
            call_of(request.request_id), name, labels, etag=request.etag or None
        )
        await self._view.refresh()
        return adapters_pb2.UpdateAdapterResponse(adapter=await self._adapter(name))

    async def DeleteAdapter(
        self, request: adapters_pb2.DeleteAdapterRequest, context: Context
    ) -> adapters_pb2.DeleteAdapterResponse:
        (name,) = read_name("adapters/{}", request.name)
        event_id = await self._registry.delete_adapter(
            call_of(request.request_id), name, etag=request.etag or None
        )
        await self._view.refresh()
        return adapters_pb2.DeleteAdapterResponse(event_id=event_id)

    async def GetVersion(
        self, request: adapters_pb2.GetVersionRequest, context: Context
    ) -> adapters_pb2.GetVersionResponse:
        name, number = read_name("adapters/{}/versions/{}", request.name)
        tenant = CALLER.get().tenant
        version = await self._catalogue.get_version(tenant, name, read_version_number(number))
        return adapters_pb2.GetVersionResponse(
            version=version_message(
                version,
                aliases=await self._catalogue.list_aliases(tenant, name),
                manifest=await self._catalogue.get_manifest(version.digest),
            )
        )

    async def ListVersions(
        self, request: adapters_pb2.ListVersionsRequest, context: Context
    ) -> adapters_pb2.ListVersionsResponse:
        (name,) = read_name("adapters/{}", request.parent)
        size = read_page_size(request.page_size)
        tenant = CALLER.get().tenant
        before = (
            read_version_number(request.page_token, name="page_token")
            if request.page_token
            else None
        )
        page = await self._catalogue.list_versions(tenant, name, before=before, limit=size + 1)
        aliases = await self._catalogue.list_aliases(tenant, name)
        return adapters_pb2.ListVersionsResponse(
            versions=[version_message(version, aliases=aliases) for version in page[:size]],
            next_page_token=str(page[size - 1].number) if len(page) > size else "",
        )

    async def RetireVersion(
        self, request: adapters_pb2.RetireVersionRequest, context: Context
    ) -> adapters_pb2.RetireVersionResponse:
        name, number = read_name("adapters/{}/versions/{}", request.name)
        call = call_of(request.request_id, reason=request.reason)
        changed = await self._registry.retire_version(call, name, read_version_number(number))
        await self._view.refresh()
        return adapters_pb2.RetireVersionResponse(
            version=version_message(changed.version), event_id=changed.event_id
        )

    async def RestoreVersion(
        self, request: adapters_pb2.RestoreVersionRequest, context: Context
    ) -> adapters_pb2.RestoreVersionResponse:
        name, number = read_name("adapters/{}/versions/{}", request.name)
        call = call_of(request.request_id, reason=request.reason)
        changed = await self._registry.restore_version(call, name, read_version_number(number))
        await self._view.refresh()
        return adapters_pb2.RestoreVersionResponse(
            version=version_message(changed.version), event_id=changed.event_id
        )

    async def DeleteVersion(
        self, request: adapters_pb2.DeleteVersionRequest, context: Context
    ) -> adapters_pb2.DeleteVersionResponse:
        name, number = read_name("adapters/{}/versions/{}", request.name)
        call = call_of(request.request_id, reason=request.reason)
        changed = await self._removal.delete_version(call, name, read_version_number(number))
        await self._view.refresh()
        return adapters_pb2.DeleteVersionResponse(event_id=changed.event_id)

    async def SetAlias(
        self, request: adapters_pb2.SetAliasRequest, context: Context
    ) -> adapters_pb2.SetAliasResponse:
        name, alias = read_name("adapters/{}/aliases/{}", request.name)
        findings = Findings()
        findings.check(is_name(alias), "name", alias, "1 to 63 of a-z 0-9 . _ - for an alias")
        findings.done()
        moved = await self._registry.set_alias(
            call_of(request.request_id, reason=request.reason),
            name,
            alias,
            version=request.version,
            expected_generation=request.expected_generation
            if request.HasField("expected_generation")
            else None,
        )
        return adapters_pb2.SetAliasResponse(
            alias=await self._moved_alias(name, moved.alias), event_id=moved.event_id
        )

    async def DeleteAlias(
        self, request: adapters_pb2.DeleteAliasRequest, context: Context
    ) -> adapters_pb2.DeleteAliasResponse:
        name, alias = read_name("adapters/{}/aliases/{}", request.name)
        moved = await self._registry.delete_alias(
            call_of(request.request_id, reason=request.reason),
            name,
            alias,
            expected_generation=request.expected_generation
            if request.HasField("expected_generation")
            else None,
        )
        await self._view.refresh()
        return adapters_pb2.DeleteAliasResponse(event_id=moved.event_id)

    async def RollbackAlias(
        self, request: adapters_pb2.RollbackAliasRequest, context: Context
    ) -> adapters_pb2.RollbackAliasResponse:
        name, alias = read_name("adapters/{}/aliases/{}", request.name)
        moved = await self._registry.rollback_alias(
            call_of(request.request_id, reason=request.reason),
            name,
            alias,
            expected_generation=request.expected_generation
            if request.HasField("expected_generation")
            else None,
        )
        return adapters_pb2.RollbackAliasResponse(
            alias=await self._moved_alias(name, moved.alias), event_id=moved.event_id
        )

    async def ListAliases(
        self, request: adapters_pb2.ListAliasesRequest, context: Context
    ) -> adapters_pb2.ListAliasesResponse:
        (name,) = read_name("adapters/{}", request.parent)
        size = read_page_size(request.page_size)
        adapter = await self._adapter(name)
        page = [alias for alias in adapter.aliases if alias.alias > request.page_token]
        return adapters_pb2.ListAliasesResponse(
            aliases=page[:size], next_page_token=page[size - 1].alias if len(page) > size else ""
        )

    async def ListAuditEvents(
        self, request: adapters_pb2.ListAuditEventsRequest, context: Context
    ) -> adapters_pb2.ListAuditEventsResponse:
        (name,) = read_name("adapters/{}", request.parent)
        size = read_page_size(request.page_size)
        page = await self._catalogue.list_audit(
            CALLER.get().tenant,
            name,
            before=read_event_id("page_token", request.page_token),
            limit=size + 1,
        )
        return adapters_pb2.ListAuditEventsResponse(
            events=map(audit_message, page[:size]),
            next_page_token=page[size - 1].entry_id if len(page) > size else "",
        )

    async def WatchAdapters(
        self, request: adapters_pb2.WatchAdaptersRequest, context: Context
    ) -> AsyncIterator[adapters_pb2.WatchAdaptersResponse]:
        tenant = CALLER.get().tenant
        cursor = read_event_id("cursor", request.cursor)
        async with aclosing(self._view.watch(tenant, cursor)) as changes:
            async for change in changes:
                if isinstance(change, Event):
                    digests = digests_by_adapter(self._view.snapshot(tenant).versions)
                    yield adapters_pb2.WatchAdaptersResponse(
                        cursor=change.event_id,
                        change=event_message(change, digests[change.adapter]),
                    )
                else:
                    for response in snapshot_messages(change):
                        yield response

    async def _adapter(self, name: str) -> types_pb2.Adapter:
        tenant = CALLER.get().tenant
        adapter = await self._catalogue.get_adapter(tenant, name)
        versions = await self._catalogue.list_versions(tenant, name)
        return adapter_message(adapter, digests_by_adapter(versions)[name])

    async def _moved_alias(self, name: str, alias: Alias) -> types_pb2.Alias:
        await self._view.refresh()
        assert alias.version is not None
        version = await self._catalogue.get_version(CALLER.get().tenant, name, alias.version)
        return alias_message(name, alias, {version.number: version.digest})


def snapshot_messages(snapshot: Snapshot) -> list[adapters_pb2.WatchAdaptersResponse]:
    """Cut a snapshot into messages; only the last one has the cursor."""
    digests = digests_by_adapter(snapshot.versions)
    aliases = {adapter.name: adapter.aliases for adapter in snapshot.adapters}
    pieces = [
        adapters_pb2.AdapterSnapshot(
            adapters=[adapter_message(adapter, digests[adapter.name]) for adapter in part]
        )
        for part in parts(snapshot.adapters)
    ] + [
        adapters_pb2.AdapterSnapshot(
            versions=[
                version_message(version, aliases=aliases[version.adapter]) for version in part
            ]
        )
        for part in parts(snapshot.versions)
    ]
    return [
        *(adapters_pb2.WatchAdaptersResponse(snapshot=piece) for piece in pieces),
        adapters_pb2.WatchAdaptersResponse(
            cursor=snapshot.cursor, snapshot=adapters_pb2.AdapterSnapshot(complete=True)
        ),
    ]


def parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + PIECE] for start in range(0, len(items), PIECE)]
