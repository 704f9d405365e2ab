"""Files are cut, sent, resumed, fetched and checked."""

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from weft.client import AsyncClient, Client, Progress, WeftError
from weft.client.transfer import ADAPTER_FILES, blob_of, chunks, ignore
from weft.protos.v1 import adapters_pb2

from .service import CHUNK_BYTES, State


def test_a_blob_is_known_by_digest_and_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"weft")
    blob = blob_of(path)
    assert (blob.digest, blob.size_bytes) == (f"sha256:{hashlib.sha256(b'weft').hexdigest()}", 4)


@pytest.mark.parametrize("committed", [0, 4, 8, 10])
def test_chunks_go_on_from_the_committed_offset(tmp_path: Path, committed: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    upload = adapters_pb2.Upload(
        upload="u", size_bytes=10, committed_bytes=committed, chunk_bytes=4
    )
    seen: list[Progress] = []
    sent = list(chunks(path, upload, seen.append))
    assert b"".join(chunk.data for chunk in sent) == b"0123456789"[committed:]
    assert [chunk.offset_bytes for chunk in sent] == list(range(committed, 10, 4))
    assert [progress.done for progress in seen] == [
        min(at + 4, 10) for at in range(committed, 10, 4)
    ]
    assert {progress.total for progress in seen} <= {10}


def test_publish_sends_what_the_server_lacks_and_reports(
    weft: Client, state: State, adapter: Path
) -> None:
    seen: list[Progress] = []
    version = weft.publish("support", adapter, aliases=["prod=0"], on_progress=seen.append)
    assert (version.version, list(version.aliases)) == (1, ["prod"])
    assert sorted(map(len, state.blobs.values())) == [8, 4608]
    sizes = [progress.done for progress in seen if progress.what == ADAPTER_FILES[1]]
    assert sizes == [1000, 2000, 3000, 4000, 4608]
    assert seen[-2:] == [Progress("check", 0, 1), Progress("check", 1, 1)]


def test_a_second_publish_sends_nothing(weft: Client, state: State, adapter: Path) -> None:
    weft.publish("support", adapter)
    state.requests.clear()
    weft.publish("other", adapter)
    assert state.seen(adapters_pb2.WriteUploadRequest) == []


async def test_an_upload_goes_on_where_it_broke(
    async_weft: AsyncClient, state: State, adapter: Path
) -> None:
    state.break_upload_after = 2 * CHUNK_BYTES
    await async_weft.publish("support", adapter)
    offsets = [
        request.offset_bytes
        for request in state.seen(adapters_pb2.WriteUploadRequest)
        if isinstance(request, adapters_pb2.WriteUploadRequest) and len(request.data) > 8
    ]
    assert offsets.count(2 * CHUNK_BYTES) == 2, "the message that was lost is sent again"
    assert offsets.count(0) == 1, "what was stored is not"
    assert max(map(len, state.blobs.values())) == 4608


def test_a_broken_publication_is_repeated_under_its_request_id(
    weft: Client, state: State, adapter: Path
) -> None:
    state.broken_streams = 2
    assert weft.publish("support", adapter).version == 1
    ids = [
        request.request_id
        for request in state.seen(adapters_pb2.PublishAdapterRequest)
        if isinstance(request, adapters_pb2.PublishAdapterRequest)
    ]
    assert len(ids) == 3
    assert all(a == b != "" for a, b in pairwise(ids))


def test_a_refused_publication_is_not_repeated(weft: Client, state: State, adapter: Path) -> None:
    with pytest.raises(WeftError) as raised:
        weft.publish("refused", adapter)
    assert raised.value.violations[0].code == "RANK_LIMIT"
    assert len(state.seen(adapters_pb2.PublishAdapterRequest)) == 1


def test_pull_writes_checked_files_of_one_version(
    weft: Client, state: State, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "out"
    assert weft.pull("support:prod", folder) == "support@7"
    assert sorted(path.name for path in folder.iterdir()) == sorted(ADAPTER_FILES)
    assert (folder / ADAPTER_FILES[0]).read_text() == ADAPTER_FILES[0] * 1000
    models = [
        request.model
        for request in state.seen(adapters_pb2.DownloadFileRequest)
        if isinstance(request, adapters_pb2.DownloadFileRequest)
    ]
    assert models == ["support:prod", "support@7"], "the alias may move in between"


def test_pull_overwrites_only_when_told(weft: Client, adapter: Path) -> None:
    with pytest.raises(FileExistsError, match="exists"):
        weft.pull("support", adapter)
    weft.pull("support", adapter, force=True)


def test_pull_leaves_nothing_of_a_corrupt_file(weft: Client, state: State, tmp_path: Path) -> None:
    state.corrupt = True
    with pytest.raises(WeftError) as raised:
        weft.pull("support", tmp_path)
    assert raised.value.reason == "CONTENT_CORRUPT"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_shown_by_default() -> None:
    ignore(Progress("file", 0, 1))
