from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from weft.kernels.attention_cpu import attention_decode_cpu
from weft.kernels.reference_attention import attention

from .cases import DTYPES, TOLERANCE, assert_near

LENGTHS = [1, 2, 3, 5, 15, 16, 17, 31, 47, 64]
Z = 16


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Paged:
    """Sequences of some lengths in shuffled blocks; NaN wherever no sequence wrote."""

    def __init__(
        self,
        lengths: list[int],
        *,
        dtype: torch.dtype = torch.float32,
        heads: tuple[int, int] = (4, 2),
        head_dims: tuple[int, int] = (64, 64),
        seed: int = 0,
    ) -> None:
        draw = torch.Generator().manual_seed(seed)
        (num_heads, num_kv_heads), (head_dim, v_head_dim) = heads, head_dims
        num_blocks = [-(-length // Z) for length in lengths]
        shuffled = torch.randperm(sum(num_blocks) + 2, generator=draw).int()
        self.kv_len_B = torch.tensor(lengths, dtype=torch.int32)
        self.table_BM = torch.full((len(lengths), max(num_blocks)), 1 << 30, dtype=torch.int32)
        self.k = torch.full((len(shuffled), Z, num_kv_heads, head_dim), torch.nan, dtype=dtype)
        self.v = torch.full((len(shuffled), Z, num_kv_heads, v_head_dim), torch.nan, dtype=dtype)
        for b, count in enumerate(num_blocks):
            own = shuffled[sum(num_blocks[:b]) :][:count]
            self.table_BM[b, :count] = own
            places = (own.long()[:, None] * Z + torch.arange(Z)).flatten()[: lengths[b]]
            for cache in (self.k, self.v):
                shape = (len(places), *cache.shape[2:])
                cache.flatten(0, 1)[places] = torch.randn(shape, generator=draw).to(dtype)
        self.q_BHD = torch.randn(len(lengths), num_heads, head_dim, generator=draw).to(dtype)

    def decode(
        self,
        *,
        window: int | None = None,
        softcap: float | None = None,
        sinks_H: Tensor | None = None,
    ) -> Tensor:
        return attention_decode_cpu(
            self.q_BHD,
            self.k,
            self.v,
            self.table_BM,
            self.kv_len_B,
            scaling=0.3,
            window=window,
            softcap=softcap,
            sinks_H=sinks_H,
        )

    def define(
        self,
        *,
        window: int | None = None,
        softcap: float | None = None,
        sinks_H: Tensor | None = None,
    ) -> Tensor:
        return torch.cat(
            [
                attention(
                    self.q_BHD[b : b + 1],
                    self.k,
                    self.v,
                    self.table_BM[b : b + 1, : -(-length // Z)],
                    indptr_B1=[0, 1],
                    kv_len_B=[length],
                    scaling=0.3,
                    window=window,
                    softcap=softcap,
                    sinks_H=sinks_H,
                )
                for b, length in enumerate(self.kv_len_B.tolist())
            ]
        )


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("heads", [(4, 4), (6, 2), (7, 1), (8, 1)])
@pytest.mark.parametrize("head_dims", [(64, 64), (80, 24)])
def test_decode_equals_the_definition(
    name: str, heads: tuple[int, int], head_dims: tuple[int, int]
) -> None:
    paged = Paged(LENGTHS, dtype=DTYPES[name], heads=heads, head_dims=head_dims)
    assert_near("out", paged.decode(), paged.define(), tolerance=TOLERANCE[DTYPES[name]])


@pytest.mark.parametrize(("window", "softcap"), [(1, None), (20, None), (None, 2.0), (7, 0.5)])
def test_options_equal_the_definition(window: int | None, softcap: float | None) -> None:
    paged = Paged(LENGTHS)
    found = paged.decode(window=window, softcap=softcap)
    assert_near("out", found, paged.define(window=window, softcap=softcap), tolerance=1e-5)


def test_sink_takes_its_share() -> None:
    paged, sinks_H = Paged(LENGTHS), torch.tensor([-1.0, 0.0, 2.0, 30.0])
    found = paged.decode(sinks_H=sinks_H, window=9)
    assert_near("out", found, paged.define(sinks_H=sinks_H, window=9), tolerance=1e-5)


@pytest.mark.usefixtures("two_threads")
def test_bits_of_a_row_do_not_depend_on_its_company_or_the_threads() -> None:
    paged = Paged(LENGTHS)
    together = paged.decode()
    torch.set_num_threads(1)
    for b in range(len(LENGTHS)):
        alone = attention_decode_cpu(
            paged.q_BHD[b : b + 1],
            paged.k,
            paged.v,
            paged.table_BM[b : b + 1],
            paged.kv_len_B[b : b + 1],
            scaling=0.3,
        )
        assert torch.equal(alone[0], together[b]), LENGTHS[b]


def test_heads_of_any_layout_are_read() -> None:
    paged = Paged(LENGTHS)
    want = paged.decode()
    paged.q_BHD = paged.q_BHD.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(paged.decode(), want)


def test_lengths_that_lie_apart_are_read() -> None:
    paged = Paged(LENGTHS)
    want = paged.decode()
    paged.kv_len_B = paged.kv_len_B.repeat_interleave(2)[::2]
    assert torch.equal(paged.decode(), want)


def test_no_sequence_is_nothing_to_do() -> None:
    paged = Paged([3])
    paged.q_BHD, paged.table_BM = paged.q_BHD[:0], paged.table_BM[:0]
    paged.kv_len_B = paged.kv_len_B[:0]
    assert paged.decode().shape == (0, 4, 64)


def test_lengths_of_another_type_are_refused() -> None:
    paged = Paged([3])
    paged.kv_len_B = paged.kv_len_B.long()
    with pytest.raises(ValueError, match=r"kv_len is torch\.int64 \(1,\), not int32 \[B\]"):
        paged.decode()
