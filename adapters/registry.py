"""Names → versions → digests, in Redis: every change is one script, conditions first.

A call that is repeated under its request id within 24 h returns the first answer, so a client, and
this client's own retries, may repeat whatever they have no answer to.
"""

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import redis.asyncio

from . import codec, keys
from .catalogue import Catalogue
from .digest import canonical_json, digest_bytes
from .errors import EtagMismatch, RegistryUnavailable, RequestConflict, VersionNotFound
from .lua import Json, Script
from .records import (
    AdapterChanged,
    AliasMove,
    AliasMoved,
    Call,
    Manifest,
    Publication,
    Published,
    VersionChanged,
    VersionState,
)

SCHEMA_NUMBER = 1
TRIES = 5

Asked = Mapping[str, Json]


class Registry:
    """Changes what names mean. `catalogue` reads it."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis
        self.catalogue = Catalogue(redis)
        self._publish = Script(redis, "alias", "publish_version", "publish")
        self._set_alias = Script(redis, "alias", "set_alias")
        self._delete_alias = Script(redis, "alias", "delete_alias")
        self._rollback_alias = Script(redis, "alias", "rollback_alias")
        self._change_version = Script(redis, "alias", "change_version")
        self._delete_version = Script(redis, "delete_version")
        self._update_adapter = Script(redis, "update_adapter")
        self._delete_adapter = Script(redis, "delete_adapter")
        self._record_adapter = Script(redis, "record_adapter")
        self._forget_adapter = Script(redis, "leases", "forget_adapter")

    async def open(self) -> str:
        """Check that the server can hold a registry, and make or find its epoch.

        Raises:
            RegistryUnavailable: Its keys have another layout, or it may evict them.
        """
        await self._redis.setnx(keys.SCHEMA, SCHEMA_NUMBER)
        found = await self._redis.get(keys.SCHEMA)
        if found != str(SCHEMA_NUMBER).encode():
            raise RegistryUnavailable(f"Redis holds schema {found!r}; this server {SCHEMA_NUMBER}")
        policy = (await self._redis.info("memory"))["maxmemory_policy"]
        if policy != "noeviction":
            raise RegistryUnavailable(f"maxmemory-policy is {policy}; it must be noeviction")
        return await self.read_epoch()

    async def read_epoch(self) -> str:
        """Read the epoch, and make one where there is none: on a new or an emptied server."""
        await self._redis.setnx(keys.EPOCH, uuid.uuid4().hex)
        epoch = await self._redis.get(keys.EPOCH)
        assert isinstance(epoch, bytes)
        return epoch.decode()

    async def record_adapter(
        self, digest: str, manifest: Manifest, *, layout_id: str, image_digest: str
    ) -> None:
        """Record what an adapter digest is and its image in one layout.

        Raises:
            BlobNotFound: The image is not in the store.
        """
        recorded = {
            "blob": keys.blob(image_digest),
            "refs": keys.refs(image_digest),
            "manifest": keys.manifest(digest),
            "images": keys.images(digest),
            "manifests": keys.MANIFESTS,
        }
        text = msgspec.json.encode(manifest).decode()
        await self._record_adapter(
            recorded, digest=digest, manifest=text, layout=layout_id, image=image_digest
        )

    async def find_recorded(self, *, before_ms: int) -> list[str]:
        """List the adapter digests that were recorded before a time, named or not."""
        found = await self._redis.zrangebyscore(keys.MANIFESTS, 0, before_ms)
        return [digest.decode() for digest in codec.raw_strings(found)]

    async def forget_adapter(self, digest: str) -> tuple[str, ...]:
        """Drop manifest and images of a digest that nothing names; answer the images' blobs."""
        stored = codec.raw_strings(await self._redis.hvals(keys.images(digest)))
        images = tuple(sorted({image.decode() for image in stored}))
        dropped = {
            "named_by": keys.named_by(digest),
            "manifest": keys.manifest(digest),
            "images": keys.images(digest),
            "manifests": keys.MANIFESTS,
            "holders": keys.HOLDERS,
        }
        dropped |= {f"refs_{image}": keys.refs(image) for image in images}
        reply = await self._forget_adapter(
            dropped, digest=digest, images=images, lease_prefix=keys.LEASE_PREFIX
        )
        return images if msgspec.json.decode(reply)["forgotten"] else ()

    async def publish(self, call: Call, publication: Publication, *, fingerprint: str) -> Published:
        """Make a version visible and move its aliases, or change nothing.

        Args:
            fingerprint: Of the caller's request, the same when it is repeated.

        Raises:
            BlobNotFound: Manifest, image or a file is not recorded.
            QuotaExceeded: The tenant has as many adapters or versions as it may.
            AliasConflict: An alias is not at the expected generation.
            RequestConflict: The request id was used for something else.
        """
        named, args = publish_arguments(call, publication, fingerprint=fingerprint)
        reply = await self._publish(named, **args)
        return await self._read_published(call.tenant, publication.adapter, reply)

    async def find_published(
        self, call: Call, adapter: str, *, fingerprint: str
    ) -> Published | None:
        """Find what a publication under this request id answered before.

        Raises:
            RequestConflict: The request id was used for something else.
        """
        if call.request_id is None:
            return None
        stored = await self._redis.get(keys.request(call.tenant, call.request_id))
        if stored is None:
            return None
        first = msgspec.json.decode(stored, type=_Answered)
        if first.fingerprint != fingerprint:
            raise RequestConflict("this request id was used for another request")
        return await self._read_published(call.tenant, adapter, first.answer.encode())

    async def _read_published(self, tenant: str, adapter: str, reply: bytes) -> Published:
        answer = msgspec.json.decode(reply, type=_PublishAnswer)
        version = await self.catalogue.get_version(tenant, adapter, answer.version)
        return Published(version, answer.event_id, tuple(answer.conflicts.split()))

    async def set_alias(
        self,
        call: Call,
        adapter: str,
        alias: str,
        *,
        version: int,
        expected_generation: int | None = None,
    ) -> AliasMoved:
        """Point an alias to a version.

        Raises:
            VersionNotFound, VersionRetired: The version cannot be pointed to.
            AliasConflict: The alias is not at `expected_generation` (0 = must not exist).
        """
        asked: Asked = {"alias": alias, "version": version, "generation": expected_generation}
        return _read_moved(alias, await self._change(self._set_alias, call, adapter, asked))

    async def delete_alias(
        self, call: Call, adapter: str, alias: str, *, expected_generation: int | None = None
    ) -> AliasMoved:
        """Take an alias away; its generation goes on when it is set again.

        Raises:
            AliasNotFound: There is no such alias.
            AliasConflict: It is not at `expected_generation`.
        """
        asked: Asked = {"alias": alias, "generation": expected_generation}
        return _read_moved(alias, await self._change(self._delete_alias, call, adapter, asked))

    async def rollback_alias(
        self, call: Call, adapter: str, alias: str, *, expected_generation: int | None = None
    ) -> AliasMoved:
        """Move an alias forward to where it pointed before; a second time returns.

        Raises:
            AliasNotFound: There is no such alias, or it never pointed elsewhere.
            VersionNotFound, VersionRetired: That version cannot be pointed to any more.
            AliasConflict: The alias is not at `expected_generation`.
        """
        asked: Asked = {"alias": alias, "generation": expected_generation}
        return _read_moved(alias, await self._change(self._rollback_alias, call, adapter, asked))

    async def retire_version(self, call: Call, adapter: str, number: int) -> VersionChanged:
        """Hide a version from new requests.

        Raises:
            VersionNotFound: There is no such version.
            VersionAliased: An alias points to it.
            VersionRetired: It is retired already.
        """
        return await self._set_state(call, adapter, number, VersionState.RETIRED)

    async def restore_version(self, call: Call, adapter: str, number: int) -> VersionChanged:
        """Undo a retirement.

        Raises:
            VersionNotFound: There is no such version.
            VersionInUse: It is not retired.
        """
        return await self._set_state(call, adapter, number, VersionState.PUBLISHED)

    async def _set_state(
        self, call: Call, adapter: str, number: int, state: VersionState
    ) -> VersionChanged:
        kind = "version.retired" if state is VersionState.RETIRED else "version.restored"
        asked: Asked = {"version": str(number), "kind": kind}
        call = _with_request_id(call)
        for _ in range(TRIES):
            text = await self._redis.hget(keys.versions(call.tenant, adapter), str(number))
            if not isinstance(text, bytes):
                raise VersionNotFound(f"{adapter} has no version {number}")
            replacement = codec.with_state(text, state)
            read: Asked = {"expected": text.decode(), "replacement": replacement}
            reply = await self._change(self._change_version, call, adapter, asked, read=read)
            changed = msgspec.json.decode(reply, type=_Changed)
            if changed.event_id:
                version = codec.decode_version(call.tenant, adapter, number, replacement.encode())
                return VersionChanged(version, changed.event_id)
        raise EtagMismatch(f"{adapter}@{number} was changed {TRIES} times meanwhile; try again")

    async def delete_version(self, call: Call, adapter: str, number: int) -> VersionChanged:
        """Delete a retired version, and what only it needed of the manifest and images.

        Raises:
            VersionNotFound: There is no such version.
            VersionInUse: It is not retired.
        """
        version = await self.catalogue.get_version(call.tenant, adapter, number)
        content = version.content
        named = {
            "named_by": keys.named_by(content.digest),
            "refs_config": keys.refs(content.config_digest),
            "refs_weights": keys.refs(content.weights_digest),
        }
        asked: Asked = {"version": str(number)}
        reply = await self._change(self._delete_version, call, adapter, asked, named=named)
        return VersionChanged(version, msgspec.json.decode(reply, type=_Changed).event_id)

    async def update_labels(
        self, call: Call, adapter: str, labels: Mapping[str, str], *, etag: str | None = None
    ) -> AdapterChanged:
        """Replace an adapter's labels.

        Raises:
            AdapterNotFound: There is no such adapter.
            EtagMismatch: It is not the adapter that was read.
        """
        text = msgspec.json.encode(dict(sorted(labels.items()))).decode()
        asked: Asked = {"labels": text, "etag": etag}
        reply = await self._change(self._update_adapter, call, adapter, asked)
        changed = await self.catalogue.get_adapter(call.tenant, adapter)
        return AdapterChanged(changed, msgspec.json.decode(reply, type=_Changed).event_id)

    async def delete_adapter(self, call: Call, adapter: str, *, etag: str | None = None) -> str:
        """Delete an adapter whose versions are all deleted; answer the event's id.

        Raises:
            AdapterNotFound: There is no such adapter.
            VersionInUse: It still has versions.
            EtagMismatch: It is not the adapter that was read.
        """
        reply = await self._change(self._delete_adapter, call, adapter, {"etag": etag})
        return msgspec.json.decode(reply, type=_Changed).event_id

    async def _change(
        self,
        script: Script,
        call: Call,
        adapter: str,
        asked: Asked,
        *,
        read: Asked | None = None,
        named: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a script over one adapter's keys; `read` and `named` are no part of the request."""
        fingerprint = fingerprint_of({"change": script.name, "adapter": adapter} | dict(asked))
        call = _with_request_id(call)
        return await script(
            adapter_keys(call, adapter) | dict(named or {}),
            **call_arguments(call, adapter, fingerprint),
            **asked,
            **(read or {}),
        )


def publish_arguments(
    call: Call, publication: Publication, *, fingerprint: str
) -> tuple[dict[str, str], dict[str, Json]]:
    """Lay out the keys and arguments of the `publish_version` script part.

    A script that does more in the same step, such as finishing a job, joins its own to these.
    """
    content = publication.content
    named = adapter_keys(call, publication.adapter) | {
        "manifest": keys.manifest(content.digest),
        "named_by": keys.named_by(content.digest),
        "blob_config": keys.blob(content.config_digest),
        "refs_config": keys.refs(content.config_digest),
        "blob_weights": keys.blob(content.weights_digest),
        "refs_weights": keys.refs(content.weights_digest),
        "blob_image": keys.blob(content.image_digest),
    }
    aliases: list[Json] = [_alias_argument(move) for move in publication.aliases]
    args = call_arguments(call, publication.adapter, fingerprint)
    return named, args | {"record": codec.encode_version(content), "aliases": aliases}


def adapter_keys(call: Call, adapter: str) -> dict[str, str]:
    """Name every key of one adapter that a change may touch."""
    call = _with_request_id(call)
    assert call.request_id is not None
    return {
        "request": keys.request(call.tenant, call.request_id),
        "events": keys.EVENTS,
        "tenants": keys.TENANTS,
        "namespaces": keys.NAMESPACES,
        "used": keys.used(call.tenant),
        "adapters": keys.adapters(call.tenant),
        "adapter": keys.adapter(call.tenant, adapter),
        "versions": keys.versions(call.tenant, adapter),
        "aliases": keys.aliases(call.tenant, adapter),
        "audit": keys.audit(call.tenant, adapter),
    }


def call_arguments(call: Call, adapter: str, fingerprint: str) -> dict[str, Json]:
    return {
        "tenant": call.tenant,
        "adapter": adapter,
        "by": call.by,
        "reason": call.reason,
        "fingerprint": fingerprint,
    }


def fingerprint_of(request: Mapping[str, Json]) -> str:
    """Digest what a request asks for, so that a repeat of it is known."""
    return digest_bytes(canonical_json(request))


def _with_request_id(call: Call) -> Call:
    if call.request_id is not None:
        return call
    return dataclasses.replace(call, request_id=uuid.uuid4().hex)


def _alias_argument(move: AliasMove) -> dict[str, Json]:
    if move.expected_generation is None:
        return {"name": move.name}
    return {"name": move.name, "generation": move.expected_generation}


def _read_moved(alias: str, reply: bytes) -> AliasMoved:
    moved = msgspec.json.decode(reply, type=_MoveAnswer)
    return AliasMoved(codec.decode_alias(alias, moved.alias), moved.event_id)


@dataclass(frozen=True, slots=True)
class _Answered:
    fingerprint: str
    answer: str


@dataclass(frozen=True, slots=True)
class _PublishAnswer:
    version: int
    event_id: str
    conflicts: str


@dataclass(frozen=True, slots=True)
class _MoveAnswer:
    alias: msgspec.Raw
    event_id: str


@dataclass(frozen=True, slots=True)
class _Changed:
    event_id: str
