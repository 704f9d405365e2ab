"""AdapterService: bytes in and out (`content`), what names mean (`names`), and where versions lie
(`residency`).
"""

from weft.adapters.publish import Publisher
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.protos.v1 import adapters_pb2_grpc
from weft.server.stores import Stores

from .content import ContentCalls
from .engine_link import EngineLink
from .images import ImageCache
from .names import NameCalls
from .residency import ResidencyCalls
from .targets import Targets


class AdapterService(
    ContentCalls, NameCalls, ResidencyCalls, adapters_pb2_grpc.AdapterServiceServicer
):
    """Serves every call."""

    def __init__(
        self,
        *,
        facts: BaseFacts,
        limits: Limits,
        stores: Stores,
        targets: Targets,
        publisher: Publisher,
        images: ImageCache,
        link: EngineLink,
        server: str,
    ) -> None:
        """Take what the calls need; `server` is the address that names this server."""
        self._facts = facts
        self._limits = limits
        self._uploads = stores.uploads
        self._blobs = stores.blobs
        self._registry = stores.registry
        self._removal = stores.removal
        self._catalogue = stores.registry.catalogue
        self._view = stores.view
        self._targets = targets
        self._publisher = publisher
        self._images = images
        self._link = link
        self._server = server
