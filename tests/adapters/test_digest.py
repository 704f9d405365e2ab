import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weft.adapters.digest import (
    CHUNK_BYTES,
    Json,
    ModuleDigest,
    TensorDigest,
    adapter_digest,
    base_digest,
    canonical_json,
    digest_bytes,
    digest_file,
    digest_tensor,
    is_digest,
    tensor_bytes,
)

A = TensorDigest("F32", (4, 8), digest_bytes(b"a"))
B = TensorDigest("F32", (8, 4), digest_bytes(b"b"))
Q = ModuleDigest("layers.0.q", 4, 2.0, A, B)
V = ModuleDigest("layers.0.v", 4, 2.0, A, B)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("añ∂😀")
documents = st.recursive(
    scalars.filter(lambda value: not isinstance(value, float) or math.isfinite(value)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abñ"), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("sha256:" + "0" * 64, True),
        ("sha256:" + "a" * 12, False),
        ("sha256:" + "A" * 64, False),
        ("sha256:" + "a" * 64 + "\n", False),
        ("a" * 64, False),
        ("", False),
    ],
)
def test_a_digest_has_one_text_form(text: str, whole: bool) -> None:
    assert is_digest(text) is whole


def test_canonical_json_sorts_keys_and_has_no_space_and_no_floats() -> None:
    value: Json = {"ñ": [0.5, 1, True, None], "a": {"c": "x", "b": (2.0,)}}
    assert canonical_json(value) == (
        '{"a":{"b":["0x1.0000000000000p+1"],"c":"x"},'
        '"ñ":["0x1.0000000000000p-1",1,true,null]}'.encode()
    )


@given(documents)
def test_canonical_json_does_not_depend_on_the_order_of_keys(document: Json) -> None:
    text = canonical_json(document)
    assert canonical_json(reverse_keys(document)) == text
    assert canonical_json(json.loads(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_real_number_keeps_every_bit(number: float) -> None:
    assert float.fromhex(json.loads(canonical_json(number))) == number


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_has_no_canonical_form(number: float) -> None:
    with pytest.raises(ValueError, match="no canonical form"):
        canonical_json({"alpha": [number]})


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 3])
def test_a_file_has_the_digest_of_its_bytes(size: int, tmp_path: Path) -> None:
    data = bytes(i % 251 for i in range(size))
    (tmp_path / "blob").write_bytes(data)
    assert digest_file(tmp_path / "blob") == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(torch.float32, "F32"), (torch.float16, "F16"), (torch.bfloat16, "BF16")],
    ids=str,
)
def test_a_tensor_is_hashed_row_by_row_whatever_its_strides(dtype: torch.dtype, name: str) -> None:
    tensor = torch.arange(6, dtype=dtype).reshape(2, 3)
    strided = torch.stack([tensor, tensor], dim=-1)[..., 0]
    assert digest_tensor(tensor) == digest_tensor(strided)
    assert digest_tensor(tensor) == TensorDigest(name, (2, 3), digest_bytes(tensor_bytes(tensor)))
    assert digest_tensor(tensor) != digest_tensor(tensor.T)


def test_a_tensor_of_another_dtype_has_no_digest() -> None:
    with pytest.raises(ValueError, match="float64"):
        digest_tensor(torch.zeros(2, dtype=torch.float64))


def test_an_adapter_digest_is_the_documented_json() -> None:
    expected: Json = {
        "base": "sha256:base",
        "format": "weft-adapter/1",
        "modules": [["layers.0.q", 4, 2.0, list(A), list(B)]],
    }
    assert adapter_digest("sha256:base", [Q]) == digest_bytes(canonical_json(expected))


def test_an_adapter_digest_does_not_depend_on_the_order_of_modules() -> None:
    assert adapter_digest("sha256:base", [Q, V]) == adapter_digest("sha256:base", [V, Q])


@pytest.mark.parametrize(
    "changed",
    [
        Q._replace(name="layers.0.k"),
        Q._replace(rank=8),
        Q._replace(scaling=math.nextafter(2.0, 3.0)),
        Q._replace(a=A._replace(dtype="BF16")),
        Q._replace(a=A._replace(shape=(8, 4))),
        Q._replace(b=A),
    ],
    ids=["name", "rank", "scaling", "dtype", "shape", "bytes"],
)
def test_an_adapter_digest_depends_on_each_thing_that_is_computed(changed: ModuleDigest) -> None:
    assert adapter_digest("sha256:base", [changed]) != adapter_digest("sha256:base", [Q])
    assert adapter_digest("sha256:other", [Q]) != adapter_digest("sha256:base", [Q])


def test_a_base_digest_leaves_out_what_is_not_mathematics() -> None:
    config: dict[str, Json] = {"rope_theta": 1e4, "architectures": ["A", "B"]}
    same: dict[str, Json] = {
        "architectures": ["B", "A"],
        "rope_theta": 1e4,
        "_name_or_path": "/somewhere",
        "transformers_version": "5.23.0",
    }
    assert base_digest(same, {"w": A, "v": B}) == base_digest(config, {"v": B, "w": A})
    assert base_digest({**config, "rope_theta": 1e6}, {"w": A}) != base_digest(config, {"w": A})
    assert base_digest(config, {"w": A}) != base_digest(config, {"w": B})


def reverse_keys(document: Json) -> Json:
    if isinstance(document, dict):
        return {key: reverse_keys(document[key]) for key in reversed(list(document))}
    if isinstance(document, list):
        return [reverse_keys(item) for item in document]
    return document
