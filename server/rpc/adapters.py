"""AdapterService: bytes in and out (`content`), and what names mean (`names`)."""

from weft.adapters.publish import Publisher
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.protos.v1 import adapters_pb2_grpc
from weft.server.stores import Stores

from .content import ContentCalls
from .names import NameCalls
from .targets import Targets


class AdapterService(ContentCalls, NameCalls, adapters_pb2_grpc.AdapterServiceServicer):
    """Serves every call but those about residency, which are declared only."""

    def __init__(
        self,
        *,
        facts: BaseFacts,
        limits: Limits,
        stores: Stores,
        targets: Targets,
        publisher: Publisher,
    ) -> None:
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
