"""What references mean to a caller, from a real registry's copy."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import redis.asyncio

from tests.adapters.registry_cases import RecordingRegistry, content, publish
from tests.adapters.tiny_facts import tiny_facts
from weft.adapters.connection import connect, connect_follower
from weft.adapters.errors import BaseNotServed, ModelNotFound, VersionRetired
from weft.adapters.names import SHARED
from weft.adapters.records import AliasMove, Call
from weft.adapters.sites import BaseFacts
from weft.adapters.view import RegistryView
from weft.protos.v1 import types_pb2
from weft.server.errors import DeadlineExceeded, RequestInvalid
from weft.server.rpc.auth import Caller
from weft.server.rpc.border import Context
from weft.server.rpc.targets import Place, Targets

ACME = Caller("acme", frozenset({"infer"}), "alice")
OPERATOR = Call(SHARED, "operator")


class Asked:
    """A call as gRPC describes it."""

    def __init__(self, after: str | None = None, remaining_s: float | None = None) -> None:
        self._after = after
        self._remaining_s = remaining_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return () if self._after is None else (("x-weft-after", self._after),)

    def time_remaining(self) -> float | None:
        return self._remaining_s


def asked(after: str | None = None, remaining_s: float | None = None) -> Context:
    return cast("Context", Asked(after, remaining_s))


@pytest.fixture
async def registry(
    redis_client: redis.asyncio.Redis, redis_url: str
) -> AsyncIterator[RecordingRegistry]:
    client = connect(redis_url)
    registry = RecordingRegistry(client)
    await registry.open()
    yield registry
    await client.aclose()


@pytest.fixture
async def view(registry: RecordingRegistry, redis_url: str) -> AsyncIterator[RegistryView]:
    """A copy that is brought up to date by hand."""
    client = connect_follower(redis_url)
    view = RegistryView(registry, client)
    await view.refresh()
    yield view
    await client.aclose()


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return replace(tiny_facts(tiny_llama), name="base", digest=content().base_digest)


@pytest.fixture
def targets(facts: BaseFacts, view: RegistryView) -> Targets:
    return Targets(facts, view)


async def test_the_served_name_means_the_base(targets: Targets, facts: BaseFacts) -> None:
    target = await targets.resolve(ACME, "base", asked())
    assert (target.model, target.digest, target.adapter_digest) == ("base", facts.digest, None)
    assert (target.adapter, target.version, target.created_ms) == ("", 0, 0)
    with pytest.raises(ModelNotFound, match="base model"):
        await targets.resolve_adapter(ACME, "base", asked())


def test_a_resolution_says_how_the_base_is_served(facts: BaseFacts, view: RegistryView) -> None:
    targets = Targets(replace(facts, quantisation="int8"), view)
    assert targets.resolved(targets.base()).precision == "float32+int8"


async def test_a_reference_means_a_version_of_the_callers(
    targets: Targets, registry: RecordingRegistry, view: RegistryView
) -> None:
    published = await publish(registry, "support")
    await view.refresh()
    target = await targets.resolve(ACME, "support", asked())
    assert (target.model, target.adapter, target.version) == ("support@1", "support", 1)
    assert target.digest == target.adapter_digest == content().digest
    assert target.event_id == published.event_id
    assert target.state == types_pb2.VERSION_STATE_PUBLISHED
    with pytest.raises(ModelNotFound):
        await targets.resolve(Caller("other", frozenset(), "bob"), "support", asked())


async def test_a_shared_version_is_named_as_such(
    targets: Targets, registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "greeter", call=OPERATOR)
    await view.refresh()
    target = await targets.resolve(ACME, "shared/greeter", asked())
    assert target.model == "shared/greeter@1"
    with pytest.raises(ModelNotFound):
        await targets.resolve(ACME, "greeter", asked())


async def test_a_retired_version_is_refused(
    targets: Targets, registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support", aliases=())
    await registry.retire_version(Call("acme", "alice"), "support", 1)
    await view.refresh()
    with pytest.raises(VersionRetired):
        await targets.resolve(ACME, "support@1", asked())


async def test_a_version_for_another_base_is_refused(
    facts: BaseFacts, registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support")
    await view.refresh()
    targets = Targets(replace(facts, digest="sha256:other"), view)
    with pytest.raises(BaseNotServed) as caught:
        await targets.resolve(ACME, "support", asked())
    assert caught.value.metadata == {"base": content().base_digest, "served": "sha256:other"}
    assert [target.model for target in targets.list(ACME, all_versions=True)] == ["base"]


@pytest.mark.parametrize("base", ["", "base", content().base_digest])
def test_the_base_is_named_by_name_or_digest_or_not_at_all(targets: Targets, base: str) -> None:
    targets.require_base(base)


def test_another_base_is_not_served(targets: Targets) -> None:
    with pytest.raises(BaseNotServed, match="llama is not served here, base is"):
        targets.require_base("llama")


async def test_lists_are_ordered_by_owner_name_and_number(
    targets: Targets, registry: RecordingRegistry, view: RegistryView
) -> None:
    for _ in range(11):
        await publish(registry, "a")
    await publish(registry, "a-b")
    await publish(registry, "zebra")
    await publish(registry, "a", call=OPERATOR)
    await view.refresh()
    every = [target.model for target in targets.list(ACME, all_versions=True)]
    numbers = range(1, 12)
    expected = ["base", *(f"a@{n}" for n in numbers), "a-b@1", "zebra@1", "shared/a@1"]
    assert every == expected
    latest = [target.model for target in targets.list(ACME, all_versions=False)]
    assert latest == ["base", "a@11", "a-b@1", "zebra@1", "shared/a@1"]
    for at, model in enumerate(every):
        after = targets.list(ACME, all_versions=True, after=model)
        assert [target.model for target in after] == every[at + 1 :]


async def test_only_what_latest_means_is_listed(
    targets: Targets, registry: RecordingRegistry, view: RegistryView
) -> None:
    await publish(registry, "support", aliases=(AliasMove("prod"),))
    await view.refresh()
    assert [target.model for target in targets.list(ACME, all_versions=False)] == ["base"]
    [_, version] = targets.list(ACME, all_versions=True)
    assert [alias.alias for alias in version.aliases] == ["prod"]
    assert version.place == Place(False, "support", 1)


@pytest.mark.parametrize("token", ["support", "support:prod", "No", "sha256:" + "0" * 64])
def test_a_token_that_no_page_gave_is_refused(targets: Targets, token: str) -> None:
    with pytest.raises(RequestInvalid, match="page_token"):
        targets.list(ACME, all_versions=True, after=token)


async def test_an_event_that_does_not_come_in_time_is_a_deadline(targets: Targets) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await targets.resolve(ACME, "base", asked("9999999999999-0", remaining_s=0.05))
    assert caught.value.metadata == {"where": "registry"}
    with pytest.raises(RequestInvalid, match="x-weft-after"):
        await targets.resolve(ACME, "base", asked("yesterday"))
