"""The front: an asyncio process that owns the wire, a copy of the registry, the engine's link."""

import asyncio
import logging
import signal
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME, aio
from grpc_reflection.v1alpha import reflection
from transformers import AutoConfig, GenerationConfig

from weft import __version__
from weft.adapters.admission import Admission, Candidate
from weft.adapters.errors import AdapterError
from weft.adapters.publish import Publisher
from weft.adapters.tensor_checks import Limits
from weft.adapters.uploads import MAX_BLOB_BYTES
from weft.protos.v1 import (
    adapters_pb2,
    adapters_pb2_grpc,
    admin_pb2,
    admin_pb2_grpc,
    inference_pb2,
    inference_pb2_grpc,
    jobs_pb2,
    jobs_pb2_grpc,
)
from weft.server import metrics
from weft.server.channel import Probed
from weft.server.config import RegistryConfig, ServeConfig
from weft.server.errors import StartFailed
from weft.server.model.checkpoint import resolve_model
from weft.server.model.facts import base_facts
from weft.server.stores import Stores, open_stores

from .adapters import AdapterService
from .auth import KeyFile, OpenDoor
from .border import Border
from .engine_link import EngineLink
from .images import ImageCache
from .inference import InferenceService
from .jobs import JobService
from .prompts import Tokenizer
from .requests import Defaults
from .response_cache import ResponseCache
from .targets import Targets

logger = logging.getLogger(__name__)

MESSAGE_BYTES = 4 * 1024**2
OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
GRACE_S = 60.0
WATCH_PERIOD_S = 0.5
SWEEP_PERIOD_S = 600.0
ALL_SERVICES = tuple(
    service.full_name
    for file in (inference_pb2, adapters_pb2, jobs_pb2, admin_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
INFERENCE, *REGISTRY, _ADMIN = ALL_SERVICES


def main(config: ServeConfig, registry: RegistryConfig) -> None:
    """Run the front process until SIGTERM."""
    asyncio.run(serve(config, registry))


async def serve(config: ServeConfig, registry: RegistryConfig) -> None:
    """Serve until SIGTERM; raise StartFailed when the front cannot start as configured."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_stores(registry) as stores:
        front = Front(config, stores)
        server = front.make_server()
        try:
            server.add_insecure_port(str(config.front.listen))
        except RuntimeError as error:
            raise StartFailed(f"{config.front.listen} cannot be bound") from error
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in front.background()]
            await server.start()
            logger.info("listening on %s", config.front.listen)
            await stop.wait()
            logger.info("draining")
            await front.health.enter_graceful_shutdown()
            front.border.end_watches()
            await server.stop(GRACE_S)
            for task in tasks:
                task.cancel()


class Front:
    """What the services share, and who keeps it fresh."""

    def __init__(self, config: ServeConfig, stores: Stores) -> None:
        self._config = config
        self._stores = stores
        folder = resolve_model(config.model.source)
        self.facts = base_facts(
            config.model.source,
            name=config.model.name,
            dtype=config.model.dtype,
            quantisation=config.model.quantise,
            hash_cache=config.data.hash_cache,
        )
        metrics.BUILD_INFO.labels(__version__, self.facts.digest).set(1)
        self._limits = Limits(
            max_rank=config.engine.max_rank,
            max_file_bytes=MAX_BLOB_BYTES,
            arena_bytes=config.engine.arena_bytes_on(config.model.device),
        )
        keys = config.front.api_keys
        door = KeyFile(keys) if keys is not None else OpenDoor()
        self.border = Border(door, max_request_s=config.front.max_request_s)
        self.health = aio.HealthServicer()
        self._engine_up = False
        self.targets = Targets(self.facts, stores.view)
        self.images = ImageCache(
            config.data.cache,
            facts=self.facts,
            limits=self._limits,
            view=stores.view,
            catalogue=stores.registry.catalogue,
            blobs=stores.blobs,
            leases=stores.leases,
            probe=self._probe,
            max_bytes=config.front.disk_bytes,
        )
        self.link = EngineLink(
            config.data.socket("engine"),
            base_digest=self.facts.digest,
            images=self.images.bring,
            on_change=self._engine_changed,
        )
        self._inference = InferenceService(
            facts=self.facts,
            tokenizer=Tokenizer(folder),
            defaults=read_defaults(folder),
            targets=self.targets,
            link=self.link,
            max_request_s=config.front.max_request_s,
            cache=ResponseCache(config.front.response_cache_bytes),
        )
        admission = Admission(
            stores.blobs,
            stores.leases,
            stores.removal,
            facts=self.facts,
            limits=self._limits,
            probe=self.link.probe,
            scratch=config.data.cache,
        )
        self._adapters = AdapterService(
            facts=self.facts,
            limits=self._limits,
            stores=stores,
            targets=self.targets,
            publisher=Publisher(stores.registry, stores.blobs, stores.removal, admission),
            images=self.images,
            link=self.link,
            server=str(config.front.listen),
        )
        self._jobs = JobService(
            facts=self.facts, limits=self._limits, stores=stores, targets=self.targets
        )

    def make_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[self.border], options=OPTIONS)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self._inference, server)
        adapters_pb2_grpc.add_AdapterServiceServicer_to_server(self._adapters, server)
        jobs_pb2_grpc.add_JobServiceServicer_to_server(self._jobs, server)
        admin = admin_pb2_grpc.AdminServiceServicer()  # declared; every call is refused by name
        admin_pb2_grpc.add_AdminServiceServicer_to_server(admin, server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        names = (*ALL_SERVICES, SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    def background(self) -> Iterator[Coroutine[None, None, None]]:
        """What runs beside the calls until the front ends."""
        yield self.link.run()
        yield self._stores.view.follow()
        yield self._jobs.follow_news()
        yield self._watch_health()
        yield self._sweep()

    async def _probe(self, candidate: Candidate) -> Probed:
        return await self.link.probe(candidate)

    def _engine_changed(self, up: bool) -> None:
        self._engine_up = up
        if up:
            logger.info("serving %s at %s", self.facts.name, self._config.front.listen)

    async def _watch_health(self) -> None:
        """Report what works, and measure how late the event loop is."""
        while True:
            stale = self._stores.view.stale
            for service in ("", INFERENCE):
                await self.health.set(service, serving(self._engine_up))
            for service in REGISTRY:
                await self.health.set(service, serving(not stale))
            metrics.REGISTRY_LAG.set(self._stores.view.lag_s)
            metrics.REGISTRY_STALE.set(stale)
            wanted = time.monotonic() + WATCH_PERIOD_S
            await asyncio.sleep(WATCH_PERIOD_S)
            metrics.LOOP_LAG.observe(time.monotonic() - wanted)

    async def _sweep(self) -> None:
        """Remove uploads that expired and blobs that nobody needs."""
        while True:
            await asyncio.sleep(SWEEP_PERIOD_S)
            try:
                swept = await self._stores.removal.sweep()
            except AdapterError as error:
                logger.warning("not swept: %s", error)
            else:
                logger.info("swept %d uploads and %d blobs", swept.uploads, swept.blobs)


def read_defaults(folder: Path) -> Defaults:
    """Read the base's generation config, or what its model config says in its place."""
    try:
        config = GenerationConfig.from_pretrained(folder)
    except OSError:
        config = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    return Defaults.of(config)


def serving(holds: bool) -> int:
    status = health_pb2.HealthCheckResponse
    return status.SERVING if holds else status.NOT_SERVING
