"""A server that runs already: adapters go there through its API, and leave it at the end."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from weft.bench.errors import WrongBase
from weft.client import Client
from weft.protos.v1 import adapters_pb2
from weft.server.model.facts import base_facts

from .adapters import AdapterFiles, publish_all, write_cold
from .generator import Target
from .options import HostOptions, Remote
from .plan import Run, Setting


def find_lack(run: Run, remote: Remote) -> str | None:
    """What a run needs that a server of somebody else does not give; None = nothing."""
    if run.needs_arena:
        return f"n/a (it is of an arena of {run.setting.arena_bytes} bytes: a server of its own)"
    if run.needs_tenants and len(remote.api_keys) < run.setting.num_tenants:
        return f"n/a (needs {run.setting.num_tenants} tenants, keys are of {len(remote.api_keys)})"
    return None


@contextmanager
def open_remote(
    setting: Setting, remote: Remote, options: HostOptions, folder: Path
) -> Iterator[Target]:
    """Publish the adapters of a setting under names of their own, and delete them at the end.

    Raises:
        WrongBase: The server's base is not the model that was named.
        WeftError: The server refuses.
    """
    keys = tuple(remote.api_keys) or (None,)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(remote.address, api_key=key)) for key in keys]
        base = clients[0].models()[0]
        facts = base_facts(remote.model, name=base.model, dtype=options.dtype, hash_cache=None)
        if facts.digest != base.base_digest:
            raise WrongBase(f"{remote.address} serves {base.base_digest}, not {facts.digest}")
        files = AdapterFiles(facts, options, folder)
        target = Target(
            address=remote.address,
            base=base.model,
            vocab_size=facts.vocab_size,
            api_keys=keys,
            folders=write_cold(setting, files),
            prefix=f"bench-{secrets.token_hex(3)}-",
        )
        stack.callback(_remove, clients, target.prefix)
        publish_all(setting.adapters, files, target)
        yield target


def _remove(clients: Sequence[Client], prefix: str) -> None:
    """Delete what carries the prefix."""
    for client in clients:
        names = [adapter.name.removeprefix("adapters/") for adapter in client.adapters()]
        for name in names:
            if name.startswith(prefix):
                _remove_adapter(client, name)


def _remove_adapter(client: Client, name: str) -> None:
    for alias in client.aliases(name):
        client.delete_alias(name, alias.name.rpartition("/")[2])
    for version in client.versions(name):
        reference = f"{name}@{version.version}"
        client.retire(reference)
        client.delete(reference)
    request = adapters_pb2.DeleteAdapterRequest(name=f"adapters/{name}")
    client.call(request, adapters_pb2.DeleteAdapterResponse)
