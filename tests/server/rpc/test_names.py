"""What references mean, and how that changes, against the running server."""

from collections.abc import Generator
from pathlib import Path

import grpc
import pytest

from weft.client import Client, Stopping
from weft.protos.v1 import adapters_pb2, types_pb2
from weft.server.rpc.names import PIECE, parts

from .calls import refusal

Watch = Generator[adapters_pb2.WatchAdaptersResponse, None, None]


@pytest.fixture
def two(weft: Client, version: types_pb2.Version, folders: list[Path]) -> str:
    """An adapter with two versions; `latest` points to the second, `prod` to the first."""
    weft.publish(version.adapter, folders[1], assert_base=True)
    return version.adapter


def meaning(weft: Client, reference: str) -> int:
    """The version that answers for a reference."""
    answer = weft.complete(reference, text="x", stopping=Stopping(max_tokens=1))
    assert answer.resolved is not None
    return answer.resolved.version


def test_an_alias_that_moves_answers_at_once(weft: Client, two: str) -> None:
    assert (meaning(weft, two), meaning(weft, f"{two}:prod")) == (2, 1)
    moved = weft.set_alias(two, "prod", 2, expected_generation=1)
    assert (moved.version, moved.generation, moved.previous_version) == (2, 2, 1)
    assert moved.digest == weft.version(f"{two}@2").digest
    assert meaning(weft, f"{two}:prod") == 2


def test_rollback_goes_where_it_pointed_and_back(weft: Client, two: str) -> None:
    weft.set_alias(two, "prod", 2)
    for version, generation in ((1, 3), (2, 4)):
        alias = weft.rollback(two, "prod")
        assert (alias.version, alias.generation) == (version, generation)
        assert meaning(weft, f"{two}:prod") == version


def test_an_alias_at_another_generation_is_left_alone(weft: Client, two: str) -> None:
    with refusal("ALIAS_CONFLICT") as caught:
        weft.set_alias(two, "prod", 2, expected_generation=7)
    assert caught.value.code is grpc.StatusCode.ABORTED
    assert (caught.value.metadata["version"], caught.value.metadata["generation"]) == ("1", "1")
    with refusal("ALIAS_CONFLICT"):
        weft.set_alias(two, "prod", 2, expected_generation=0)
    assert meaning(weft, f"{two}:prod") == 1


def test_a_deleted_alias_means_nothing(weft: Client, two: str) -> None:
    weft.delete_alias(two, "prod", expected_generation=1)
    with refusal("MODEL_NOT_FOUND"):
        weft.model(f"{two}:prod")
    assert [alias.alias for alias in weft.aliases(two)] == ["latest"]
    with refusal("ALIAS_NOT_FOUND"):
        weft.delete_alias(two, "prod")
    with refusal("ALIAS_NOT_FOUND"):
        weft.rollback(two, "prod")
    assert weft.set_alias(two, "prod", 1).generation == 3


def test_an_alias_has_a_name_and_points_to_a_version(weft: Client, two: str) -> None:
    with refusal("REQUEST_INVALID"):
        weft.set_alias(two, "Not A Name", 1)
    with refusal("VERSION_NOT_FOUND"):
        weft.set_alias(two, "prod", 3)


def test_a_version_is_retired_restored_and_deleted(weft: Client, two: str) -> None:
    first = f"{two}@1"
    with refusal("VERSION_ALIASED") as caught:
        weft.retire(first)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    weft.set_alias(two, "prod", 2)
    assert weft.retire(first, reason="old").state == types_pb2.VERSION_STATE_RETIRED
    with refusal("VERSION_RETIRED"):
        meaning(weft, first)
    with refusal("VERSION_RETIRED"):
        weft.set_alias(two, "prod", 1)
    assert weft.restore(first).state == types_pb2.VERSION_STATE_PUBLISHED
    assert meaning(weft, first) == 1
    with refusal("VERSION_IN_USE"):
        weft.delete(first)
    weft.retire(first)
    weft.delete(first)
    with refusal("VERSION_NOT_FOUND"):
        weft.version(first)
    with refusal("MODEL_NOT_FOUND"):
        meaning(weft, first)
    assert [found.version for found in weft.versions(two)] == [2]


def test_an_adapter_without_versions_is_deleted(weft: Client, version: types_pb2.Version) -> None:
    name = version.adapter
    request = adapters_pb2.DeleteAdapterRequest(name=f"adapters/{name}")
    with refusal("VERSION_IN_USE"):
        weft.call(request, adapters_pb2.DeleteAdapterResponse)
    for alias in ("prod", "latest"):
        weft.delete_alias(name, alias)
    weft.retire(f"{name}@1")
    weft.delete(f"{name}@1")
    request.request_id = ""
    assert weft.call(request, adapters_pb2.DeleteAdapterResponse).event_id
    with refusal("ADAPTER_NOT_FOUND"):
        weft.aliases(name)


def update(weft: Client, name: str, *, etag: str = "", **labels: str) -> types_pb2.Adapter:
    request = adapters_pb2.UpdateAdapterRequest(name=f"adapters/{name}", etag=etag, labels=labels)
    return weft.call(request, adapters_pb2.UpdateAdapterResponse).adapter


def get(weft: Client, name: str) -> types_pb2.Adapter:
    request = adapters_pb2.GetAdapterRequest(name=f"adapters/{name}")
    return weft.call(request, adapters_pb2.GetAdapterResponse).adapter


def test_labels_are_replaced_if_the_adapter_is_the_one_that_was_read(
    weft: Client, version: types_pb2.Version
) -> None:
    read = get(weft, version.adapter)
    assert (read.num_versions, len(read.aliases)) == (1, 2)
    changed = update(weft, version.adapter, etag=read.etag, team="a")
    assert dict(changed.labels) == {"team": "a"}
    assert changed.etag != read.etag
    with refusal("ETAG_MISMATCH") as caught:
        update(weft, version.adapter, etag=read.etag, team="b")
    assert caught.value.code is grpc.StatusCode.ABORTED
    with refusal("REQUEST_INVALID"):
        update(weft, version.adapter, **{"k" * 64: ""})
    assert dict(get(weft, version.adapter).labels) == {"team": "a"}


def test_adapters_are_listed_by_label_and_page(
    weft: Client, name: str, folders: list[Path]
) -> None:
    names = [f"{name}-{letter}" for letter in "abc"]
    for each in names:
        weft.publish(each, folders[0], assert_base=True)
        update(weft, each, test=name)
    request = adapters_pb2.ListAdaptersRequest(page_size=2, labels={"test": name})
    first = weft.call(request, adapters_pb2.ListAdaptersResponse)
    assert [adapter.adapter for adapter in first.adapters] == names[:2]
    request.page_token = first.next_page_token
    second = weft.call(request, adapters_pb2.ListAdaptersResponse)
    assert ([adapter.adapter for adapter in second.adapters], second.next_page_token) == (
        names[2:],
        "",
    )


def test_versions_and_aliases_are_listed_by_page(weft: Client, two: str) -> None:
    versions = adapters_pb2.ListVersionsRequest(parent=f"adapters/{two}", page_size=1)
    found = weft.call(versions, adapters_pb2.ListVersionsResponse)
    assert ([v.version for v in found.versions], found.next_page_token) == ([2], "2")
    assert not found.versions[0].modules
    assert [v.version for v in weft.versions(two)] == [2, 1]
    aliases = adapters_pb2.ListAliasesRequest(parent=f"adapters/{two}", page_size=1)
    page = weft.call(aliases, adapters_pb2.ListAliasesResponse)
    assert ([a.alias for a in page.aliases], page.next_page_token) == (["latest"], "latest")
    aliases.page_token = page.next_page_token
    page = weft.call(aliases, adapters_pb2.ListAliasesResponse)
    assert ([a.alias for a in page.aliases], page.next_page_token) == (["prod"], "")


def test_the_audit_tells_who_moved_what_and_why(weft: Client, two: str) -> None:
    weft.set_alias(two, "prod", 2, expected_generation=1, reason="better answers")
    weft.rollback(two, "prod")
    request = adapters_pb2.ListAuditEventsRequest(parent=f"adapters/{two}", page_size=3)
    page = weft.call(request, adapters_pb2.ListAuditEventsResponse)
    back, moved, _ = page.events
    assert (moved.action, moved.alias, moved.from_version, moved.to_version) == (
        "alias.set",
        "prod",
        1,
        2,
    )
    assert (moved.reason, moved.actor, moved.forced) == ("better answers", "anybody", False)
    assert (back.to_version, back.forced) == (1, True)
    request.page_token = page.next_page_token
    older = weft.call(request, adapters_pb2.ListAuditEventsResponse).events
    assert older[-1].action in ("version.published", "alias.set")
    assert not {event.event_id for event in older} & {event.event_id for event in page.events}


def test_a_repeated_change_returns_the_first_answer(weft: Client, two: str) -> None:
    request = adapters_pb2.SetAliasRequest(
        name=f"adapters/{two}/aliases/prod", version=2, request_id=f"move-{two}"
    )
    answers = [weft.call(request, adapters_pb2.SetAliasResponse) for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].alias.generation == 2
    request.version = 1
    with refusal("REQUEST_ID_REUSED") as caught:
        weft.call(request, adapters_pb2.SetAliasResponse)
    assert caught.value.code is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize(
    "request_",
    [
        adapters_pb2.ListAuditEventsRequest(parent="adapters/a", page_token="x"),
        adapters_pb2.ListAuditEventsRequest(parent="a"),
        adapters_pb2.ListVersionsRequest(parent="adapters/a", page_token="x"),
        adapters_pb2.ListAdaptersRequest(page_size=1001),
        adapters_pb2.GetVersionRequest(name="adapters/a/versions/x"),
        adapters_pb2.RetireVersionRequest(name="adapters/a/versions/1", reason="x" * 256),
        adapters_pb2.DeleteVersionRequest(name="adapters/a/versions/1", request_id="x" * 65),
    ],
    ids=str,
)
def test_a_malformed_request_is_refused(
    weft: Client,
    request_: adapters_pb2.ListAuditEventsRequest
    | adapters_pb2.ListVersionsRequest
    | adapters_pb2.ListAdaptersRequest
    | adapters_pb2.GetVersionRequest
    | adapters_pb2.RetireVersionRequest
    | adapters_pb2.DeleteVersionRequest,
) -> None:
    answer = getattr(adapters_pb2, type(request_).__name__.replace("Request", "Response"))
    with refusal("REQUEST_INVALID"):
        weft.call(request_, answer)


def test_unknown_names_are_not_found(weft: Client, version: types_pb2.Version) -> None:
    with refusal("ADAPTER_NOT_FOUND") as caught:
        get(weft, "nobody")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    with refusal("ADAPTER_NOT_FOUND"):
        update(weft, "nobody", a="b")
    for change in (weft.retire, weft.restore, weft.delete, weft.version):
        with refusal("VERSION_NOT_FOUND"):
            change(f"{version.adapter}@9")


def snapshot(watch: Watch) -> tuple[dict[str, str], str]:
    """The digest of every version, and the cursor; a watch starts with them."""
    digests: dict[str, str] = {}
    for response in watch:
        digests |= {v.name: v.digest for v in response.snapshot.versions}
        if response.snapshot.complete:
            return digests, response.cursor
    raise AssertionError("the watch ended")


def test_a_watch_gives_all_there_is_and_then_every_change(
    weft: Client, version: types_pb2.Version, folders: list[Path]
) -> None:
    watch = weft.watch()
    digests, cursor = snapshot(watch)
    assert digests[version.name] == version.digest
    weft.publish(version.adapter, folders[1], latest=False, assert_base=True)
    alias = weft.set_alias(version.adapter, "prod", 2)
    update(weft, version.adapter, a="b")
    changes = [next(watch) for _ in range(3)]
    watch.close()
    kinds = [adapters_pb2.AdapterEventType.Name(c.change.type)[19:] for c in changes]
    assert kinds == ["VERSION_PUBLISHED", "ALIAS_SET", "ADAPTER_UPDATED"]
    assert {c.change.adapter for c in changes} == {version.adapter}
    assert changes[0].change.version.name == f"adapters/{version.adapter}/versions/2"
    assert changes[1].change.alias == alias
    for at, since in enumerate([cursor, changes[0].cursor]):
        resumed = weft.watch(cursor=since)
        assert [next(resumed) for _ in changes[at:]] == changes[at:]
        resumed.close()


def test_a_watch_from_too_long_ago_starts_with_a_snapshot(
    weft: Client, version: types_pb2.Version
) -> None:
    watch = weft.watch(cursor="1-0")
    digests, _ = snapshot(watch)
    watch.close()
    assert version.name in digests


def test_a_watch_from_nowhere_is_refused(weft: Client) -> None:
    with refusal("REQUEST_INVALID"):
        next(weft.watch(cursor="yesterday"))


@pytest.mark.parametrize("count", [0, 1, PIECE, PIECE + 1])
def test_a_snapshot_is_cut_into_pieces(count: int) -> None:
    pieces = parts(range(count))
    assert [item for piece in pieces for item in piece] == list(range(count))
    assert all(len(piece) <= PIECE for piece in pieces)
