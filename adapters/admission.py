"""Admission of an upload: fetch two files, check them, pack the image, probe it."""

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from .blobs import Blobs
from .config import CONFIG_FILE
from .digest import DTYPE_NAMES, Json, digest_file
from .errors import Refused
from .image import write_image
from .layout import place_slices, serving_dtype
from .leases import Leases
from .records import AliasMove, Call, Manifest, ManifestModule, ProbeReport, VersionContent
from .registry import fingerprint_of
from .removal import Removal
from .sites import BaseFacts
from .tensor_checks import Limits
from .weights import CheckedAdapter, check_adapter

WEIGHTS_FILE = "adapter_model.safetensors"
IMAGE_FILE = "image"


class PublishStep(Enum):
    FETCH = "fetch"
    CHECK = "check"
    IMAGE = "image"
    PROBE = "probe"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Progress:
    """The start of a step (not done, 0 ms) or its end."""

    step: PublishStep
    done: bool
    elapsed_ms: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a version records of where it comes from, beyond who published it."""

    job: str = ""
    parent: str = ""
    datasets: tuple[str, ...] = ()
    provenance_digest: str = ""
    tokenizer_digest: str = ""
    template_digest: str = ""


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """Two committed blobs that shall become the next version of an adapter."""

    adapter: str
    config_digest: str
    weights_digest: str
    aliases: tuple[AliasMove, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    assert_base: bool = False
    allow_no_effect: bool = False
    origin: Origin = field(default_factory=Origin)

    @property
    def fingerprint(self) -> str:
        aliases: list[Json] = [[move.name, move.expected_generation] for move in self.aliases]
        return fingerprint_of(
            {
                "change": "publish",
                "adapter": self.adapter,
                "files": [self.config_digest, self.weights_digest],
                "aliases": aliases,
                "labels": dict(self.labels),
                "assert_base": self.assert_base,
                "allow_no_effect": self.allow_no_effect,
                "job": self.origin.job,
            }
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checked adapter as files on this machine, for the probe."""

    digest: str
    config_path: Path
    weights_path: Path
    image_path: Path
    allow_no_effect: bool


class ProbeFound(Protocol):
    """What a probe measured of an adapter that it does not refuse."""

    @property
    def largest_error(self) -> float: ...

    @property
    def logit_change(self) -> float: ...


Probe = Callable[[Candidate], Awaitable[ProbeFound]]


@dataclass(frozen=True, slots=True, eq=False)
class Admitted:
    """An adapter that passed every check; `image_path` lasts as long as its admission is open."""

    content: VersionContent
    manifest: Manifest
    image_path: Path


class Admission:
    """Admits adapters for one base.

    Args:
        probe: Runs the candidate and raises Refused with what it finds wrong.
        scratch: Folder for files while they are worked on.
    """

    def __init__(
        self,
        blobs: Blobs,
        leases: Leases,
        removal: Removal,
        *,
        facts: BaseFacts,
        limits: Limits,
        probe: Probe,
        scratch: Path,
    ) -> None:
        self._blobs = blobs
        self._leases = leases
        self._removal = removal
        self._facts = facts
        self._limits = limits
        self._probe = probe
        self._scratch = scratch

    async def admit(
        self, call: Call, request: PublishRequest
    ) -> AsyncGenerator[Progress | Admitted, None]:
        """Check, pack and probe; the last item is what may be published, while it is leased.

        Raises:
            BlobNotFound: The tenant has not uploaded a file.
            Refused: With every violation; the files are removed if nothing else needs them.
        """
        files = [request.config_digest, request.weights_digest]
        await self._blobs.check_owned(call.tenant, files)
        asked_ms = await self._blobs.now_ms()
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._leases.hold(files, reason="publish"))
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._scratch)))
                async for item in self._admit(call, request, folder, stack):
                    yield item
        except Refused:
            await self._removal.remove_blobs(files, unless_asked_since_ms=asked_ms)
            raise

    async def _admit(
        self, call: Call, request: PublishRequest, folder: Path, stack: AsyncExitStack
    ) -> AsyncGenerator[Progress | Admitted, None]:
        config, weights, image = (folder / name for name in (CONFIG_FILE, WEIGHTS_FILE, IMAGE_FILE))
        watch = Watch(PublishStep.FETCH)
        yield watch.start()
        await self._blobs.fetch(request.config_digest, config)
        await self._blobs.fetch(request.weights_digest, weights)
        yield watch.end()

        watch = Watch(PublishStep.CHECK)
        yield watch.start()
        checked = await asyncio.to_thread(
            check_adapter,
            config,
            weights,
            self._facts,
            limits=self._limits,
            assert_base=request.assert_base,
            allow_no_effect=request.allow_no_effect,
        )
        await stack.enter_async_context(self._leases.hold([checked.digest], reason="publish"))
        yield watch.end(f"{len(checked.modules)} modules")

        watch = Watch(PublishStep.IMAGE)
        yield watch.start()
        await asyncio.to_thread(write_image, checked, self._facts, image)
        yield watch.end()

        watch = Watch(PublishStep.PROBE)
        yield watch.start()
        found = await self._probe(
            Candidate(checked.digest, config, weights, image, request.allow_no_effect)
        )
        yield watch.end(f"logits change by up to {found.logit_change:.3g}")
        content = await self._content(call, request, checked, found, image)
        yield Admitted(content, _manifest(checked, content), image)

    async def _content(
        self,
        call: Call,
        request: PublishRequest,
        checked: CheckedAdapter,
        found: ProbeFound,
        image: Path,
    ) -> VersionContent:
        ranks = {module.name: module.rank for module in checked.modules}
        num_elements = place_slices(self._facts, ranks).num_elements
        origin = request.origin
        return VersionContent(
            digest=checked.digest,
            config_digest=request.config_digest,
            config_bytes=await self._blobs.size(request.config_digest),
            weights_digest=request.weights_digest,
            weights_bytes=await self._blobs.size(request.weights_digest),
            image_digest=await asyncio.to_thread(digest_file, image),
            image_bytes=num_elements * serving_dtype(self._facts).itemsize,
            layout_id=self._facts.layout_id,
            base=self._facts.name,
            base_digest=self._facts.digest,
            evidence=checked.evidence.value,
            dtype=_stored_dtype(checked),
            max_rank=max(ranks.values()),
            probe=ProbeReport(self._facts.precision, found.logit_change, found.largest_error),
            publisher=call.by,
            job=origin.job,
            parent=origin.parent,
            datasets=origin.datasets,
            provenance_digest=origin.provenance_digest,
            warnings=checked.warnings,
            labels=dict(request.labels),
            tokenizer_digest=origin.tokenizer_digest,
            template_digest=origin.template_digest,
        )


class Watch:
    """Tells the start and the end of one step."""

    def __init__(self, step: PublishStep) -> None:
        self._step = step
        self._started_s = time.monotonic()

    def start(self) -> Progress:
        return Progress(self._step, done=False, elapsed_ms=0.0)

    def end(self, detail: str = "") -> Progress:
        elapsed_ms = 1000 * (time.monotonic() - self._started_s)
        return Progress(self._step, done=True, elapsed_ms=elapsed_ms, detail=detail)


def _stored_dtype(checked: CheckedAdapter) -> str:
    found = {
        DTYPE_NAMES[tensor.dtype] for module in checked.modules for tensor in (module.a, module.b)
    }
    return ",".join(sorted(found))


def _manifest(checked: CheckedAdapter, content: VersionContent) -> Manifest:
    modules = (ManifestModule(m.name, m.rank, m.scaling) for m in checked.modules)
    return Manifest(content.base_digest, content.dtype, tuple(modules))
