"""Publishing, naming and watching adapters."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path

import grpc

from weft.protos.v1 import adapters_pb2, types_pb2

from .calls import persist
from .errors import WeftError
from .inference import InferenceCalls
from .names import adapter_name, alias_move, alias_name, version_name
from .transfer import OnProgress, Progress, adapter_paths, blob_of, ignore


class AdapterCalls(InferenceCalls):
    """The operations of AdapterService; InferenceService resolves its references."""

    async def publish(
        self,
        adapter: str,
        folder: Path | str,
        *,
        base: str = "",
        aliases: Iterable[str] = (),
        latest: bool = True,
        labels: Mapping[str, str] | None = None,
        assert_base: bool = False,
        allow_no_effect: bool = False,
        validate_only: bool = False,
        on_progress: OnProgress = ignore,
    ) -> types_pb2.Version:
        """Upload what the server lacks of an adapter in PEFT's layout, and publish it.

        An alias is `prod`, or `prod=3` to move it only at generation 3 (0: only if it is new).
        `on_progress` may be called on another thread.
        """
        config, weights = await self.send_missing(adapter_paths(folder), on_progress)
        request = adapters_pb2.PublishAdapterRequest(
            adapter=adapter,
            config_digest=config,
            weights_digest=weights,
            base=base,
            assert_base=assert_base,
            aliases=map(alias_move, aliases),
            no_latest=not latest,
            labels=labels,
            allow_no_effect=allow_no_effect,
            validate_only=validate_only,
        )
        return await persist(partial(self._publish, request, on_progress))

    async def _publish(
        self, request: adapters_pb2.PublishAdapterRequest, on_progress: OnProgress
    ) -> types_pb2.Version:
        version = types_pb2.Version()
        responses = self.stream(request, adapters_pb2.PublishAdapterResponse)
        async with aclosing(responses):
            async for response in responses:
                if response.HasField("result"):
                    version = response.result.version
                else:
                    step = adapters_pb2.PublishStep.Name(response.progress.step)
                    what = step.removeprefix("PUBLISH_STEP_").lower()
                    on_progress(Progress(what, int(response.progress.done), 1))
        return version

    async def check(
        self, folder: Path | str, *, base: str = "", assert_base: bool = False
    ) -> adapters_pb2.CheckAdapterResponse:
        """Upload an adapter and hear what admission says of it, without publishing it."""
        config, weights = await self.send_missing(adapter_paths(folder), ignore)
        request = adapters_pb2.CheckAdapterRequest(
            config_digest=config, weights_digest=weights, base=base, assert_base=assert_base
        )
        return await self.call(request, adapters_pb2.CheckAdapterResponse)

    async def pull(
        self,
        reference: str,
        folder: Path | str,
        *,
        force: bool = False,
        on_progress: OnProgress = ignore,
    ) -> str:
        """Download a version in PEFT's layout, check its hashes, and answer its adapter@version.

        Raises FileExistsError for a file that is there, unless `force` is set.
        """
        paths = adapter_paths(folder)
        for path in paths:
            if path.exists() and not force:
                raise FileExistsError(f"{path} exists")
            path.parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            reference = await self._download(reference, path, on_progress)
        return reference

    async def _download(self, reference: str, path: Path, on_progress: OnProgress) -> str:
        part = path.with_name(f".{path.name}.part")
        try:
            file = await self._receive(reference, path.name, part, on_progress)
            if (await self._transport.work(partial(blob_of, part))).digest != file.digest:
                raise WeftError(
                    f"{path.name} of {reference} arrived with another digest than {file.digest}",
                    reason="CONTENT_CORRUPT",
                    code=grpc.StatusCode.DATA_LOSS,
                )
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return file.model

    async def _receive(
        self, reference: str, name: str, part: Path, on_progress: OnProgress
    ) -> adapters_pb2.FileInfo:
        file = adapters_pb2.FileInfo()
        responses = self.stream(
            adapters_pb2.DownloadFileRequest(model=reference, file=name),
            adapters_pb2.DownloadFileResponse,
        )
        with part.open("wb") as out:
            async with aclosing(responses):
                async for response in responses:
                    if response.HasField("file"):
                        file = response.file
                    out.write(response.data)
                    on_progress(Progress(name, out.tell(), file.size_bytes))
        return file

    async def adapters(self) -> list[types_pb2.Adapter]:
        """List adapters by name, with their aliases."""
        request = adapters_pb2.ListAdaptersRequest()
        return list((await self.collect(request, adapters_pb2.ListAdaptersResponse)).adapters)

    async def versions(self, adapter: str) -> list[types_pb2.Version]:
        """List the versions of an adapter, the newest first."""
        request = adapters_pb2.ListVersionsRequest(parent=adapter_name(adapter))
        return list((await self.collect(request, adapters_pb2.ListVersionsResponse)).versions)

    async def version(self, reference: str) -> types_pb2.Version:
        """Show the version that a reference means, with its modules and where it comes from."""
        if "@" not in reference:
            reference = (await self.model(reference)).model
        request = adapters_pb2.GetVersionRequest(name=version_name(reference))
        return (await self.call(request, adapters_pb2.GetVersionResponse)).version

    async def aliases(self, adapter: str) -> list[types_pb2.Alias]:
        """List the aliases of an adapter by name."""
        request = adapters_pb2.ListAliasesRequest(parent=adapter_name(adapter))
        return list((await self.collect(request, adapters_pb2.ListAliasesResponse)).aliases)

    async def set_alias(
        self,
        adapter: str,
        alias: str,
        version: int,
        *,
        expected_generation: int | None = None,
        reason: str = "",
    ) -> types_pb2.Alias:
        """Point an alias to a version; generation 0 means that the alias must be new."""
        request = adapters_pb2.SetAliasRequest(
            name=alias_name(adapter, alias),
            version=version,
            expected_generation=expected_generation,
            reason=reason,
        )
        return (await self.call(request, adapters_pb2.SetAliasResponse)).alias

    async def delete_alias(
        self,
        adapter: str,
        alias: str,
        *,
        expected_generation: int | None = None,
        reason: str = "",
    ) -> None:
        """Delete an alias."""
        request = adapters_pb2.DeleteAliasRequest(
            name=alias_name(adapter, alias), expected_generation=expected_generation, reason=reason
        )
        await self.call(request, adapters_pb2.DeleteAliasResponse)

    async def rollback(
        self,
        adapter: str,
        alias: str,
        *,
        expected_generation: int | None = None,
        reason: str = "",
    ) -> types_pb2.Alias:
        """Point an alias to where it pointed before."""
        request = adapters_pb2.RollbackAliasRequest(
            name=alias_name(adapter, alias), expected_generation=expected_generation, reason=reason
        )
        return (await self.call(request, adapters_pb2.RollbackAliasResponse)).alias

    async def retire(self, reference: str, *, reason: str = "") -> types_pb2.Version:
        """Hide a version, given as adapter@version, from new requests."""
        request = adapters_pb2.RetireVersionRequest(name=version_name(reference), reason=reason)
        return (await self.call(request, adapters_pb2.RetireVersionResponse)).version

    async def restore(self, reference: str, *, reason: str = "") -> types_pb2.Version:
        """Undo a retirement."""
        request = adapters_pb2.RestoreVersionRequest(name=version_name(reference), reason=reason)
        return (await self.call(request, adapters_pb2.RestoreVersionResponse)).version

    async def delete(self, reference: str, *, reason: str = "") -> None:
        """Delete a retired version, given as adapter@version."""
        request = adapters_pb2.DeleteVersionRequest(name=version_name(reference), reason=reason)
        await self.call(request, adapters_pb2.DeleteVersionResponse)

    async def warm(
        self, reference: str, *, tier: types_pb2.Tier = types_pb2.TIER_GPU
    ) -> adapters_pb2.WarmAdapterResponse:
        """Bring a version to a tier of the server; answer the last that the server said."""
        warmed = adapters_pb2.WarmAdapterResponse()
        responses = self.stream(
            adapters_pb2.WarmAdapterRequest(model=reference, tier=tier),
            adapters_pb2.WarmAdapterResponse,
        )
        async with aclosing(responses):
            async for response in responses:
                warmed.MergeFrom(response)
        return warmed

    async def pin(
        self, reference: str, *, tier: types_pb2.Tier = types_pb2.TIER_GPU
    ) -> adapters_pb2.Pin:
        """Bring a version to a tier of the server and keep it there."""
        request = adapters_pb2.PinAdapterRequest(model=reference, tier=tier)
        return (await self.call(request, adapters_pb2.PinAdapterResponse)).pin

    async def unpin(self, reference: str) -> None:
        """Let a pinned version be evicted again."""
        request = adapters_pb2.UnpinAdapterRequest(model=reference)
        await self.call(request, adapters_pb2.UnpinAdapterResponse)

    async def residency(self, reference: str = "") -> list[adapters_pb2.Residency]:
        """List where versions lie on the server: one, or all that have a place there."""
        request = adapters_pb2.ListResidencyRequest(model=reference)
        return list((await self.collect(request, adapters_pb2.ListResidencyResponse)).residency)

    async def watch(
        self, *, cursor: str = ""
    ) -> AsyncGenerator[adapters_pb2.WatchAdaptersResponse, None]:
        """Stream a snapshot, then every change; a lost connection is taken up again."""
        responses = self.follow(
            adapters_pb2.WatchAdaptersRequest(cursor=cursor),
            adapters_pb2.WatchAdaptersResponse,
            lambda response: response.cursor,
        )
        async with aclosing(responses):
            async for response in responses:
                yield response
