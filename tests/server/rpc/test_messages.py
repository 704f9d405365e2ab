"""The registry's records as messages of the wire."""

from dataclasses import replace

import pytest

from tests.adapters.registry_cases import content
from weft.adapters.codec import encode_version
from weft.adapters.errors import Violation
from weft.adapters.evidence import Evidence
from weft.adapters.records import (
    Adapter,
    Alias,
    AuditEntry,
    Event,
    Manifest,
    ManifestModule,
    Version,
    VersionState,
)
from weft.protos.v1 import adapters_pb2, types_pb2
from weft.server.rpc.messages import (
    STATES,
    adapter_message,
    audit_message,
    digests_by_adapter,
    event_message,
    version_message,
)

CONTENT = replace(
    content(),
    job="j1",
    datasets=("d1",),
    warnings=(Violation("ZERO_MODULE", "q_proj", "B is 0", "a change"),),
)
VERSION = Version("acme", "support", 7, VersionState.RETIRED, 1234, CONTENT)
LATEST = Alias("latest", 7, 3, 6)


def test_a_version_tells_where_it_comes_from() -> None:
    manifest = Manifest("sha256:b", "F32", (ManifestModule("q_proj", 4, 2.0),))
    message = version_message(
        VERSION, aliases=[LATEST, Alias("prod", 6, 1, None)], manifest=manifest
    )
    assert (message.name, message.version) == ("adapters/support/versions/7", 7)
    assert message.state == types_pb2.VERSION_STATE_RETIRED
    assert message.aliases == ["latest"]
    assert message.modules[0].scaling == 2.0
    assert message.provenance.job == "jobs/j1"
    assert message.provenance.datasets == ["datasets/d1"]
    assert message.warnings[0].code == "ZERO_MODULE"


def test_lists_leave_modules_out() -> None:
    assert not version_message(VERSION).modules


@pytest.mark.parametrize("evidence", Evidence)
def test_every_kind_of_evidence_is_one_of_the_wire(evidence: Evidence) -> None:
    version = replace(VERSION, content=replace(CONTENT, evidence=evidence.value))
    found = types_pb2.BaseEvidence.Name(version_message(version).base_evidence)
    assert found == "BASE_EVIDENCE_" + evidence.value.upper().replace(" ", "_")


def test_every_state_is_one_of_the_wire() -> None:
    assert STATES.keys() == set(VersionState)


def test_an_adapter_has_its_aliases_with_digests() -> None:
    adapter = Adapter("acme", "support", "e1", {"a": "b"}, 5, 2, (LATEST,))
    message = adapter_message(adapter, {7: "sha256:7"})
    assert (message.name, message.etag, message.num_versions) == ("adapters/support", "e1", 2)
    alias = message.aliases[0]
    assert (alias.name, alias.digest) == ("adapters/support/aliases/latest", "sha256:7")
    assert (alias.version, alias.generation, alias.previous_version) == (7, 3, 6)


def test_an_alias_that_never_moved_has_no_previous_version() -> None:
    adapter = Adapter("acme", "support", "e1", {}, 5, 2, (replace(LATEST, previous=None),))
    assert not adapter_message(adapter, {}).aliases[0].HasField("previous_version")


def test_an_audit_entry_tells_what_moved() -> None:
    entry = AuditEntry("1-0", 1, "alias.set", "prod", None, 2, "alice", "why", True)
    message = audit_message(entry)
    assert (message.actor, message.action, message.reason) == ("alice", "alias.set", "why")
    assert not message.HasField("from_version")
    assert message.to_version == 2


def test_digests_are_by_adapter_and_number() -> None:
    assert digests_by_adapter([VERSION])["support"] == {7: VERSION.digest}
    assert digests_by_adapter([])["nobody"] == {}


def event(kind: str, *, name: str = "", state: bytes = b"") -> adapters_pb2.AdapterEvent:
    return event_message(Event("99-1", kind, "acme", "support", name, state), {7: "sha256:7"})


@pytest.mark.parametrize("kind", ["version.published", "version.retired", "version.restored"])
def test_an_event_of_a_version_has_it(kind: str) -> None:
    state = encode_version(CONTENT)[:-1] + ', "created_ms": 5}'
    message = event(kind, name="7", state=state.encode())
    assert (message.time_ms, message.adapter) == (99, "support")
    assert message.version.digest == CONTENT.digest


def test_an_event_of_an_alias_has_it() -> None:
    state = b'{"version": 7, "generation": 3, "previous": 6}'
    alias = event("alias.set", name="prod", state=state).alias
    assert (alias.alias, alias.version, alias.digest) == ("prod", 7, "sha256:7")


@pytest.mark.parametrize(
    "kind", ["version.deleted", "alias.deleted", "adapter.deleted", "adapter.updated"]
)
def test_an_event_without_a_state_has_its_type(kind: str) -> None:
    message = event(kind)
    assert adapters_pb2.AdapterEventType.Name(message.type).endswith(kind.upper().replace(".", "_"))
    assert message.WhichOneof("state") is None
