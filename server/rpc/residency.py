"""AdapterService, the part about places: which tier of this server holds which version."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing

from weft.adapters.errors import Unsupported
from weft.adapters.names import SHARED
from weft.adapters.view import RegistryView
from weft.protos.v1 import adapters_pb2, types_pb2
from weft.server.channel import Held

from .auth import CALLER
from .border import Context
from .engine_link import EngineLink
from .fields import Findings, read_page_size
from .images import ImageCache
from .messages import TIERS
from .targets import Target, Targets

ASKED = {
    types_pb2.TIER_UNSPECIFIED: "arena",
    types_pb2.TIER_GPU: "arena",
    types_pb2.TIER_HOST: "host",
    types_pb2.TIER_DISK: "disk",
}


class ResidencyCalls:
    """Calls about this server alone; a tenant sees its own versions and the shared ones."""

    _server: str
    _targets: Targets
    _view: RegistryView
    _images: ImageCache
    _link: EngineLink

    async def WarmAdapter(
        self, request: adapters_pb2.WarmAdapterRequest, context: Context
    ) -> AsyncIterator[adapters_pb2.WarmAdapterResponse]:
        started = time.monotonic()
        tier = read_tier(request.tier)
        target = await self._targets.resolve_adapter(CALLER.get(), request.model, context)
        resolved: types_pb2.ResolvedAdapter | None = self._targets.resolved(target)
        async with aclosing(self._bring(target, tier)) as places:
            async for place in places:
                elapsed_ms = 1000 * (time.monotonic() - started)
                yield adapters_pb2.WarmAdapterResponse(
                    resolved=resolved, tier=TIERS[place], elapsed_ms=elapsed_ms
                )
                resolved = None

    async def _bring(self, target: Target, tier: str) -> AsyncGenerator[str, None]:
        """Bring a version to a tier; yield the nearest that holds it, before and after."""
        digest = target.digest
        if tier == "disk":
            yield "disk" if digest in self._images.sizes() else "store"
            await self._images.bring(digest)
            yield "disk"
            return
        async with aclosing(self._link.warm(digest, tier)) as places:
            async for place in places:
                yield place

    async def PinAdapter(
        self, request: adapters_pb2.PinAdapterRequest, context: Context
    ) -> adapters_pb2.PinAdapterResponse:
        tier = read_tier(request.tier)
        if tier == "disk":
            raise Unsupported("pins on the disk are not served by this server", field="tier")
        target = await self._targets.resolve_adapter(CALLER.get(), request.model, context)
        async with aclosing(self._link.warm(target.digest, tier, pin=True)) as places:
            async for place in places:
                tier = place
        pin = adapters_pb2.Pin(digest=target.digest, tier=TIERS[tier])
        return adapters_pb2.PinAdapterResponse(pin=pin)

    async def UnpinAdapter(
        self, request: adapters_pb2.UnpinAdapterRequest, context: Context
    ) -> adapters_pb2.UnpinAdapterResponse:
        target = await self._targets.resolve_adapter(CALLER.get(), request.model, context)
        self._link.unpin(target.digest)
        return adapters_pb2.UnpinAdapterResponse()

    async def ListResidency(
        self, request: adapters_pb2.ListResidencyRequest, context: Context
    ) -> adapters_pb2.ListResidencyResponse:
        size = read_page_size(request.page_size)
        models = await self._models(request.model, context)
        held = {each.digest: each for each in await self._link.locate()}
        on_disk = self._images.sizes()
        digests = sorted(
            digest
            for digest in models
            if digest > request.page_token and (digest in held or digest in on_disk)
        )
        return adapters_pb2.ListResidencyResponse(
            residency=[
                self._residency(digest, models[digest], held.get(digest), on_disk)
                for digest in digests[:size]
            ],
            next_page_token=digests[size - 1] if len(digests) > size else "",
        )

    async def _models(self, reference: str, context: Context) -> dict[str, list[str]]:
        """The names of every version asked about, by digest."""
        if reference:
            target = await self._targets.resolve_adapter(CALLER.get(), reference, context)
            return {target.digest: [target.model]}
        models: dict[str, list[str]] = {}
        for digest, model in self._visible():
            models.setdefault(digest, []).append(model)
        return models

    def _visible(self) -> Iterator[tuple[str, str]]:
        for tenant, prefix in ((CALLER.get().tenant, ""), (SHARED, f"{SHARED}/")):
            for version in self._view.snapshot(tenant).versions:
                yield version.digest, prefix + version.model

    def _residency(
        self, digest: str, models: list[str], held: Held | None, on_disk: dict[str, int]
    ) -> adapters_pb2.Residency:
        if held is None:
            return adapters_pb2.Residency(
                digest=digest,
                models=models,
                server=self._server,
                tier=types_pb2.TIER_DISK,
                image_bytes=on_disk[digest],
            )
        last_use_s = 0.0 if held.idle_s is None else time.time() - held.idle_s
        return adapters_pb2.Residency(
            digest=digest,
            models=models,
            server=self._server,
            tier=TIERS[held.tier],
            image_bytes=held.num_bytes,
            pinned=held.pinned is not None,
            last_use_ms=int(1000 * last_use_s),
        )


def read_tier(tier: types_pb2.Tier) -> str:
    """Name the tier that is asked for; raise RequestInvalid."""
    findings = Findings()
    findings.check(tier in ASKED, "tier", tier, "GPU, HOST or DISK")
    findings.done()
    return ASKED[tier]
