"""Warming, pinning and listing, against the running server."""

from weft.client import Client, Stopping
from weft.protos.v1 import adapters_pb2, types_pb2

from .calls import refusal


def tier_of_answer(weft: Client, reference: str) -> types_pb2.Tier:
    answer = weft.complete(reference, text="x", stopping=Stopping(max_tokens=1))
    assert answer.usage is not None
    return answer.usage.tier


def test_a_version_is_warmed_to_any_tier(weft: Client, version: types_pb2.Version) -> None:
    for tier in (types_pb2.TIER_DISK, types_pb2.TIER_HOST, types_pb2.TIER_GPU):
        warmed = weft.warm(version.adapter, tier=tier)
        assert (warmed.resolved.digest, warmed.tier) == (version.digest, tier)
        assert warmed.elapsed_ms > 0
    [found] = weft.residency(version.adapter)
    assert (found.tier, found.pinned) == (types_pb2.TIER_GPU, False)
    assert found.image_bytes > 0
    assert found.server
    assert tier_of_answer(weft, version.adapter) == types_pb2.TIER_GPU
    assert weft.residency(version.adapter)[0].last_use_ms > version.created_ms


def test_only_the_first_message_says_what_is_warmed(
    weft: Client, version: types_pb2.Version
) -> None:
    request = adapters_pb2.WarmAdapterRequest(model=version.adapter)
    first, last = weft.stream(request, adapters_pb2.WarmAdapterResponse)
    assert first.resolved.model == f"{version.adapter}@1"
    assert not last.HasField("resolved")
    assert last.tier == types_pb2.TIER_GPU


def test_a_pin_is_listed_until_it_is_taken_back(weft: Client, version: types_pb2.Version) -> None:
    pin = weft.pin(f"{version.adapter}:prod", tier=types_pb2.TIER_HOST)
    assert (pin.digest, pin.tier) == (version.digest, types_pb2.TIER_HOST)
    listed = {found.digest: found for found in weft.residency()}
    assert listed[version.digest].pinned
    assert f"{version.adapter}@1" in listed[version.digest].models
    weft.unpin(version.adapter)
    assert not weft.residency(version.adapter)[0].pinned


def test_pages_of_residency_follow_one_another(weft: Client, version: types_pb2.Version) -> None:
    weft.warm(version.adapter)
    request = adapters_pb2.ListResidencyRequest(page_size=1)
    pages = weft.collect(request, adapters_pb2.ListResidencyResponse)
    digests = [found.digest for found in pages.residency]
    assert digests == sorted({found.digest for found in weft.residency()})


def test_what_is_asked_wrongly_is_named(weft: Client, version: types_pb2.Version) -> None:
    with refusal("REQUEST_INVALID"):
        weft.warm(version.adapter, tier=types_pb2.TIER_STORE)
    with refusal("FEATURE_UNSUPPORTED") as caught:
        weft.pin(version.adapter, tier=types_pb2.TIER_DISK)
    assert caught.value.metadata == {"field": "tier"}
    for call in (weft.warm, weft.pin, weft.unpin, weft.residency):
        with refusal("MODEL_NOT_FOUND"):
            call("nobody")
        with refusal("MODEL_NOT_FOUND"):
            call("base")
