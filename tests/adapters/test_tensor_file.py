import json
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from weft.adapters.errors import Refused
from weft.adapters.tensor_file import MAX_HEADER_BYTES, open_tensors, write_metadata

CAP = 1 << 20
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def write(path: Path, header: object, data: bytes, *, pad: int = 0) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode() + b" " * pad
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def refusal(path: Path, *, max_bytes: int = CAP) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        open_tensors(path, max_bytes=max_bytes)
    (violation,) = caught.value.violations
    assert violation.path == "adapter_model.safetensors"
    return violation.code, violation.found


def tensors() -> dict[str, Tensor]:
    return {
        "f32": torch.randn(3, 5),
        "f16": torch.randn(7, 1).half(),
        "bf16": torch.randn(1, 9).bfloat16(),
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(2.5),
    }


def test_every_served_dtype_reads_as_safetensors_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors() | {"ids": torch.arange(4)}, path, metadata={"format": "pt"})
    file = open_tensors(path, max_bytes=CAP)
    assert file.metadata == {"format": "pt"}
    assert file.entries["ids"].dtype == "I64"
    read = file.read()
    assert read.keys() == tensors().keys()
    for name, tensor in load_file(path).items():
        if name != "ids":
            torch.testing.assert_close(read[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("pad", [0, 1, 2, 3])
def test_tensors_that_are_not_aligned_are_read(pad: int, tmp_path: Path) -> None:
    values = torch.tensor([1.5, -2.5])
    path = write(tmp_path / "f", {"x": F32}, values.numpy().tobytes(), pad=pad)
    assert torch.equal(open_tensors(path, max_bytes=CAP).read()["x"], values)


def test_a_missing_file_is_refused_and_a_pickle_beside_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "adapter_model.safetensors"
    assert refusal(path) == ("FILE_SET", "missing")
    torch.save({}, tmp_path / "adapter_model.bin")
    assert refusal(path) == ("FILE_SET", "adapter_model.bin, a pickle file")


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {"x": F32}, bytes(8))
    size = path.stat().st_size
    assert refusal(path, max_bytes=size - 1) == ("FILE_TOO_LARGE", f"{size} bytes")
    open_tensors(path, max_bytes=size)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused_and_never_executed(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(pickle.dumps({"x": [1.0] * 20}, protocol))
    assert refusal(tmp_path / "f") == ("FILE_FORMAT", "a pickle file")


def test_a_torch_archive_is_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(8)}, tmp_path / "f")
    assert refusal(tmp_path / "f") == ("FILE_FORMAT", "a pickle file")


def test_a_header_of_640_bytes_is_no_pickle(tmp_path: Path) -> None:
    header = {"x": F32}
    pad = 640 - len(json.dumps(header))
    path = write(tmp_path / "f", header, bytes(8), pad=pad)
    assert path.read_bytes().startswith(b"\x80\x02")
    assert open_tensors(path, max_bytes=CAP).entries.keys() == {"x"}


def test_a_header_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "f", {}, b"", pad=MAX_HEADER_BYTES - 2)
    assert open_tensors(path, max_bytes=2 * MAX_HEADER_BYTES).entries == {}
    write(path, {}, b"", pad=MAX_HEADER_BYTES - 1)
    assert refusal(path, max_bytes=2 * MAX_HEADER_BYTES)[0] == "FILE_FORMAT"


@pytest.mark.parametrize(
    ("header", "data_bytes", "found"),
    [
        (b"", 0, "a header of 0 bytes in a file of 8 bytes"),
        (b"[]", 0, "a header of 2 bytes"),
        (b" {}", 0, "a header of 3 bytes"),
        (b"{", 0, "header: Expecting"),
        (b'{"x": 1, "x": 1}', 0, 'header: key "x" twice'),
        ({"x": 1}, 0, "tensor x has not exactly"),
        ({"x": {**F32, "more": 1}}, 8, "tensor x has not exactly"),
        ({"x": {**F32, "dtype": 1}}, 8, "of a wrong type"),
        ({"x": {**F32, "shape": [-2]}}, 8, "of a wrong type"),
        ({"x": {**F32, "shape": [2.0]}}, 8, "of a wrong type"),
        ({"x": {**F32, "data_offsets": [0]}}, 8, "of a wrong type"),
        ({"x": {**F32, "data_offsets": [0, True]}}, 8, "of a wrong type"),
        ({"x": {**F32, "shape": [3]}}, 8, "tensor x has 8 bytes for F32 [3]"),
        ({"x": F32}, 9, "9 bytes of data; the tensors have 8"),
        ({"x": F32}, 7, "7 bytes of data; the tensors have 8"),
        ({"x": {**F32, "data_offsets": [4, 12]}}, 12, "a gap before tensor x at byte 4"),
        ({"x": {**F32, "data_offsets": [8, 0]}}, 8, "a gap before tensor x"),
        ({"x": F32, "y": F32}, 8, "an overlap before tensor y at byte 0"),
        ({"__metadata__": [], "x": F32}, 8, "its metadata is no object"),
        ({"__metadata__": {"a": 1}, "x": F32}, 8, "values that are no strings"),
    ],
)
def test_a_broken_header_is_refused(
    header: object, data_bytes: int, found: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "f", header, bytes(data_bytes))
    code, reason = refusal(path)
    assert code == "FILE_FORMAT"
    assert found in reason


@pytest.mark.parametrize("size", [0, 1, 7, 8, 40])
def test_a_truncated_file_is_refused(size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "f", {"x": F32}, bytes(8))
    path.write_bytes(path.read_bytes()[:size])
    assert refusal(path)[0] == "FILE_FORMAT"


sizes = st.integers(0, 12)
entry = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "BF16"]),
        "shape": st.lists(st.integers(0, 3), max_size=2),
        "data_offsets": st.tuples(sizes, sizes).map(list),
    }
)


@settings(max_examples=300)
@given(header=st.dictionaries(st.sampled_from("abc"), entry, max_size=3), data_bytes=sizes)
def test_whatever_safetensors_refuses_is_refused(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, object], data_bytes: int
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "any", header, bytes(data_bytes))
    try:
        with safe_open(path, "pt") as file:
            accepted = set(file.keys())
    except SafetensorError:
        assert refusal(path)[0] == "FILE_FORMAT"
    else:
        assert set(open_tensors(path, max_bytes=CAP).read()) == accepted


def test_metadata_is_added_and_the_tensors_stay(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(tensors(), path, metadata={"format": "pt", "a": "1"})
    before = load_file(path)
    write_metadata(path, {"a": "2", "b": "ñ"})
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"format": "pt", "a": "2", "b": "ñ"}
    for name, tensor in load_file(path).items():
        assert torch.equal(tensor, before[name])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
