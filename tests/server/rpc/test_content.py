"""Uploads, checks, publications and downloads against the running server."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import torch
from safetensors.torch import load_file, save_file

from weft.client import Client
from weft.protos.v1 import adapters_pb2, types_pb2
from weft.server.child import Server

from .calls import (
    commit_upload,
    create_upload,
    digest_of,
    figure,
    read_figures,
    refusal,
    send,
    write_requests,
    write_upload,
)

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NOWHERE = digest_of(b"nobody has this")


def unique(name: str, num_bytes: int = 100) -> bytes:
    """Bytes that no other test uploads."""
    return (name.encode() * num_bytes)[:num_bytes]


def test_what_is_uploaded_is_missing_no_more(server: Server, weft: Client, name: str) -> None:
    data = unique(name)
    request = adapters_pb2.FindMissingRequest(
        blobs=[adapters_pb2.BlobKey(digest=digest_of(data), size_bytes=len(data))]
    )
    answer = adapters_pb2.FindMissingResponse
    assert weft.call(request, answer).digests == [digest_of(data)]
    assert send(weft, server.address, data) == digest_of(data)
    assert not weft.call(request, answer).digests


def test_an_upload_is_resumed_where_it_stands(server: Server, weft: Client, name: str) -> None:
    data = unique(name, 3_000_000)
    upload = create_upload(weft, data)
    size = upload.chunk_bytes
    assert write_upload(server.address, upload.upload, (0, data[:size])) == size
    again = create_upload(weft, data)
    assert (again.upload, again.committed_bytes) == (upload.upload, size)
    pieces = [(at, data[at : at + size]) for at in range(size, len(data), size)]
    assert write_upload(server.address, upload.upload, *pieces) == len(data)
    assert commit_upload(weft, upload.upload) == digest_of(data)
    assert commit_upload(weft, upload.upload) == digest_of(data)  # its answer may have been lost


def test_a_truncated_upload_is_not_committed(server: Server, weft: Client, name: str) -> None:
    data = unique(name, 1_100_000)
    upload = create_upload(weft, data)
    write_upload(server.address, upload.upload, (0, data[: upload.chunk_bytes]))
    with refusal("UPLOAD_OFFSET") as caught:
        commit_upload(weft, upload.upload)
    assert caught.value.code is grpc.StatusCode.OUT_OF_RANGE
    assert caught.value.metadata == {"committed_bytes": str(upload.chunk_bytes)}


@pytest.mark.parametrize("offset", [1, 7])
def test_a_wrong_offset_is_told_the_right_one(
    server: Server, weft: Client, name: str, offset: int
) -> None:
    upload = create_upload(weft, unique(name)).upload
    with refusal("UPLOAD_OFFSET") as caught:
        write_upload(server.address, upload, (offset, b"x"))
    assert caught.value.metadata == {"committed_bytes": "0"}


def test_bytes_of_another_digest_are_discarded(server: Server, weft: Client, name: str) -> None:
    data = unique(name)
    upload = create_upload(weft, data).upload
    write_upload(server.address, upload, (0, data[::-1]))
    with refusal("UPLOAD_DIGEST"):
        commit_upload(weft, upload)
    with refusal("UPLOAD_NOT_FOUND"):
        commit_upload(weft, upload)


def test_a_second_writer_takes_over(server: Server, weft: Client, name: str) -> None:
    """The first one hears of it with its next chunk."""
    data = unique(name, 2_200_000)
    upload = create_upload(weft, data)
    size = upload.chunk_bytes

    def requests() -> Iterator[adapters_pb2.WriteUploadRequest]:
        yield adapters_pb2.WriteUploadRequest(upload=upload.upload, data=data[:size])
        await_committed(weft, upload.upload, size)
        second = (size, data[size : 2 * size])
        assert write_upload(server.address, upload.upload, second) == 2 * size
        yield adapters_pb2.WriteUploadRequest(
            upload=upload.upload, offset_bytes=size, data=data[size : 2 * size]
        )

    with refusal("UPLOAD_TAKEN") as caught:
        write_requests(server.address, requests())
    assert caught.value.code is grpc.StatusCode.ABORTED


def await_committed(weft: Client, upload: str, num_bytes: int) -> None:
    request = adapters_pb2.GetUploadRequest(upload=upload)
    for _ in range(10_000):
        found = weft.call(request, adapters_pb2.GetUploadResponse).upload
        if found.committed_bytes == num_bytes:
            return
    raise AssertionError(f"{num_bytes} bytes were not stored")


def test_a_message_with_too_much_data_is_refused(server: Server, weft: Client, name: str) -> None:
    data = unique(name, 1024**2 + 1)
    upload = create_upload(weft, data).upload
    with refusal("MESSAGE_TOO_LARGE") as caught:
        write_upload(server.address, upload, (0, data))
    assert caught.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.metadata == {"limit": str(1024**2)}


def test_one_call_writes_one_upload(server: Server, weft: Client, name: str) -> None:
    upload = create_upload(weft, unique(name)).upload
    requests = [
        adapters_pb2.WriteUploadRequest(upload=upload, data=b"x"),
        adapters_pb2.WriteUploadRequest(upload="other", offset_bytes=1),
    ]
    with refusal("REQUEST_INVALID") as caught:
        write_requests(server.address, iter(requests))
    assert caught.value.violations[0].field == "upload"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (adapters_pb2.CreateUploadRequest(digest="x", size_bytes=1), "digest"),
        (adapters_pb2.CreateUploadRequest(digest=NOWHERE), "size_bytes"),
    ],
    ids=["digest", "size"],
)
def test_a_malformed_upload_is_refused(
    weft: Client, request_: adapters_pb2.CreateUploadRequest, field: str
) -> None:
    with refusal("REQUEST_INVALID") as caught:
        weft.call(request_, adapters_pb2.CreateUploadResponse)
    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_file_beyond_the_largest_is_refused(weft: Client) -> None:
    request = adapters_pb2.CreateUploadRequest(digest=NOWHERE, size_bytes=1 << 40)
    with refusal("QUOTA_EXCEEDED"):
        weft.call(request, adapters_pb2.CreateUploadResponse)


@pytest.mark.parametrize("upload", ["nobody's", f"{'0' * 64}.1.{'0' * 16}"])
def test_an_unknown_upload_is_not_found(server: Server, weft: Client, upload: str) -> None:
    with refusal("UPLOAD_NOT_FOUND"):
        weft.call(adapters_pb2.GetUploadRequest(upload=upload), adapters_pb2.GetUploadResponse)
    with refusal("UPLOAD_NOT_FOUND"):
        commit_upload(weft, upload)
    with refusal("UPLOAD_NOT_FOUND"):
        write_upload(server.address, upload, (0, b"x"))


def changed(folder: Path, to: Path, **config: object) -> Path:
    """A copy of an adapter whose config says something else."""
    shutil.copytree(folder, to)
    values = json.loads((to / CONFIG).read_text()) | config
    (to / CONFIG).write_text(json.dumps(values))
    return to


def with_half(folder: Path, to: Path) -> Path:
    tensors = load_file(changed(folder, to) / WEIGHTS)
    del tensors[next(key for key in tensors if "lora_A" in key)]
    save_file(tensors, to / WEIGHTS)
    return to


def with_nan(folder: Path, to: Path) -> Path:
    tensors = load_file(changed(folder, to) / WEIGHTS)
    next(iter(tensors.values())).view(-1)[0] = float("nan")
    save_file(tensors, to / WEIGHTS)
    return to


def with_pickle(folder: Path, to: Path) -> Path:
    torch.save(load_file(changed(folder, to) / WEIGHTS), to / WEIGHTS)
    return to


def with_dora(folder: Path, to: Path) -> Path:
    return changed(folder, to, use_dora=True)


def with_other_base(folder: Path, to: Path) -> Path:
    return changed(folder, to, base_model_name_or_path="someone/else-7b")


def with_unknown_key(folder: Path, to: Path) -> Path:
    return changed(folder, to, quantum_lora=3)


def with_cut_file(folder: Path, to: Path) -> Path:
    weights = changed(folder, to) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    return to


REFUSED = {
    "TENSOR_PAIR": with_half,
    "NOT_FINITE": with_nan,
    "FILE_FORMAT": with_pickle,
    "FEATURE_UNSUPPORTED": with_dora,
    "BASE_MISMATCH": with_other_base,
    "CONFIG_UNKNOWN": with_unknown_key,
}


@pytest.mark.parametrize("code", REFUSED)
def test_a_refused_adapter_says_why_and_leaves_nothing(
    server: Server, weft: Client, folders: list[Path], tmp_path: Path, name: str, code: str
) -> None:
    folder = REFUSED[code](folders[0], tmp_path / "bad")
    stored = {path.name for path in (server.data_dir / "store").rglob("*") if path.is_file()}
    refused = figure(read_figures(server), "weft_admission_total", code=code)
    with refusal("ADAPTER_REFUSED") as caught:
        weft.publish(name, folder, assert_base=code != "BASE_MISMATCH")
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert code in {violation.code for violation in caught.value.violations}
    assert int(caught.value.metadata["violations_total"]) >= 1
    with refusal("ADAPTER_NOT_FOUND"):
        weft.versions(name)
    with refusal("MODEL_NOT_FOUND"):
        weft.model(name)
    for file in (CONFIG, WEIGHTS):
        data = (folder / file).read_bytes()
        if data != (folders[0] / file).read_bytes():
            request = adapters_pb2.FindMissingRequest(
                blobs=[adapters_pb2.BlobKey(digest=digest_of(data), size_bytes=len(data))]
            )
            assert weft.call(request, adapters_pb2.FindMissingResponse).digests
    left = {path.name for path in (server.data_dir / "store").rglob("*") if path.is_file()}
    assert left <= stored
    assert figure(read_figures(server), "weft_admission_total", code=code) > refused


def test_a_file_cut_short_is_refused(
    weft: Client, folders: list[Path], tmp_path: Path, name: str
) -> None:
    with refusal("ADAPTER_REFUSED") as caught:
        weft.publish(name, with_cut_file(folders[0], tmp_path / "cut"), assert_base=True)
    assert caught.value.violations[0].code == "FILE_FORMAT"


def test_another_base_is_not_served(weft: Client, folders: list[Path], name: str) -> None:
    with refusal("BASE_NOT_SERVED") as caught:
        weft.publish(name, folders[0], base="llama-900b", assert_base=True)
    assert caught.value.metadata == {"served": weft.model("base").digest}
    with refusal("BASE_NOT_SERVED"):
        weft.check(folders[0], base=NOWHERE)


def publish_request(name: str, **fields: object) -> adapters_pb2.PublishAdapterRequest:
    fields = {"config_digest": NOWHERE, "weights_digest": NOWHERE} | fields
    return adapters_pb2.PublishAdapterRequest(adapter=name, **fields)  # type: ignore[arg-type]


def publish(
    weft: Client, request: adapters_pb2.PublishAdapterRequest
) -> adapters_pb2.PublishAdapterResponse:
    *_, last = weft.stream(request, adapters_pb2.PublishAdapterResponse)
    return last


def test_only_what_was_uploaded_is_published(weft: Client, name: str) -> None:
    with refusal("BLOB_NOT_FOUND") as caught:
        publish(weft, publish_request(name))
    assert caught.value.metadata == {"digest": NOWHERE}


def test_every_violation_of_a_publication_comes_back(weft: Client) -> None:
    request = publish_request(
        "shared",
        config_digest="x",
        aliases=[types_pb2.AliasMove(alias="No")],
        labels={"k" * 64: "v"},
    )
    with refusal("REQUEST_INVALID") as caught:
        publish(weft, request)
    assert [violation.field for violation in caught.value.violations] == [
        "adapter",
        "config_digest",
        "aliases.alias",
        "labels",
    ]


def test_publication_tells_its_steps_and_ends_in_the_version(
    weft: Client, version: types_pb2.Version
) -> None:
    request = publish_request(
        version.adapter,
        config_digest=version.config_digest,
        weights_digest=version.weights_digest,
        assert_base=True,
        aliases=[types_pb2.AliasMove(alias="prod", expected_generation=1)],
        labels={"run": "7"},
    )
    *steps, last = weft.stream(request, adapters_pb2.PublishAdapterResponse)
    told = [(adapters_pb2.PublishStep.Name(s.progress.step)[13:], s.progress.done) for s in steps]
    assert told == [
        (step, done)
        for step in ("FETCH", "CHECK", "IMAGE", "PROBE", "PUBLISH")
        for done in (False, True)
    ]
    published = last.result.version
    assert (published.name, published.version) == (f"adapters/{version.adapter}/versions/2", 2)
    assert (published.digest, dict(published.labels)) == (version.digest, {"run": "7"})
    assert published.aliases == ["latest", "prod"]
    assert [(a.alias, a.version, a.generation) for a in last.result.aliases] == [
        ("latest", 2, 2),
        ("prod", 2, 2),
    ]
    assert [(m.rank, m.scaling) for m in published.modules] == [(4, 2.0)] * 4
    assert published.probe.max_logit_change > 0
    assert published.base_evidence == types_pb2.BASE_EVIDENCE_ASSERTED
    assert published.provenance.publisher == "anybody"
    assert last.result.event_id


def test_an_alias_that_moved_meanwhile_stops_the_publication(
    weft: Client, version: types_pb2.Version, folders: list[Path]
) -> None:
    with refusal("ALIAS_CONFLICT") as caught:
        weft.publish(version.adapter, folders[1], aliases=["prod=9"], assert_base=True)
    assert caught.value.code is grpc.StatusCode.ABORTED
    assert caught.value.metadata["generation"] == "1"
    assert [found.version for found in weft.versions(version.adapter)] == [1]


def test_a_repeated_publication_returns_the_first_answer(
    weft: Client, version: types_pb2.Version, name: str
) -> None:
    request = publish_request(
        name,
        config_digest=version.config_digest,
        weights_digest=version.weights_digest,
        assert_base=True,
        request_id=f"publish-{name}",
    )
    answers = [publish(weft, request).result for _ in range(2)]
    assert answers[0] == answers[1]
    request.labels["other"] = "content"
    with refusal("REQUEST_ID_REUSED"):
        publish(weft, request)


def test_validation_publishes_nothing(weft: Client, folders: list[Path], name: str) -> None:
    version = weft.publish(name, folders[0], assert_base=True, validate_only=True)
    assert (version.version, version.name) == (0, "")
    assert version.digest.startswith("sha256:")
    with refusal("ADAPTER_NOT_FOUND"):
        weft.versions(name)


def test_check_tells_digest_and_size_or_every_violation(
    weft: Client, version: types_pb2.Version, folders: list[Path], tmp_path: Path
) -> None:
    good = weft.check(folders[0], assert_base=True)
    assert (good.digest, good.image_bytes) == (version.digest, version.image_bytes)
    assert not good.violations
    bad = weft.check(with_dora(with_half(folders[0], tmp_path / "a"), tmp_path / "b"))
    assert {"TENSOR_PAIR", "FEATURE_UNSUPPORTED"} <= {found.code for found in bad.violations}
    assert not bad.digest


def download(weft: Client, model: str, file: str, *, offset: int = 0) -> tuple[str, bytes]:
    """The digest that is told first, and the bytes that follow."""
    request = adapters_pb2.DownloadFileRequest(model=model, file=file, offset_bytes=offset)
    first, *pieces = weft.stream(request, adapters_pb2.DownloadFileResponse)
    return first.file.digest, b"".join(piece.data for piece in pieces)


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
def test_files_leave_byte_for_byte_as_they_came(
    weft: Client, version: types_pb2.Version, folders: list[Path], file: str
) -> None:
    data = (folders[0] / file).read_bytes()
    model = f"{version.adapter}@1"
    assert download(weft, model, file) == (digest_of(data), data)
    for offset in (1, 100, len(data)):
        assert download(weft, model, file, offset=offset)[1] == data[offset:]
    with refusal("REQUEST_INVALID"):
        download(weft, model, file, offset=len(data) + 1)


def test_only_the_two_files_of_an_adapter_are_downloaded(
    weft: Client, version: types_pb2.Version
) -> None:
    with refusal("REQUEST_INVALID") as caught:
        download(weft, version.adapter, "../store")
    assert caught.value.violations[0].field == "file"
    with refusal("MODEL_NOT_FOUND"):
        download(weft, "base", CONFIG)
