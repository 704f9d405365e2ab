import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weft.kernels.attention_tiles import prefill_tile
from weft.kernels.query_tiles import cut_queries

from .attention_cases import (
    COMPILED_RUNS,
    KINDS,
    LARGE_KINDS,
    RUNS,
    Kind,
    Paged,
    Run,
    define,
    indptr,
)
from .cases import assert_near, interpreted

# A first chunk, decodes, later chunks of less and more than a tile, and a sequence without rows.
NEW, LENGTHS = [9, 1, 5, 131, 0, 1, 64], [9, 1, 67, 150, 40, 129, 64]
INTERPRETED = Run("cpu", torch.float32)


def compare(run: Run, kind: Kind, new: list[int], lengths: list[int]) -> None:
    paged, q_THD = run.cache(kind, lengths), run.queries(kind, sum(new))
    out_THD = run.prefill(q_THD, paged, new, lengths)
    want = define(q_THD, paged, new, lengths)
    assert_near("out", out_THD, want, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_mixed_step_equals_the_definition(run: Run, kind: Kind) -> None:
    compare(run, kind, NEW, LENGTHS)


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize("kind", LARGE_KINDS.values(), ids=LARGE_KINDS)
def test_equals_the_definition_at_sizes_that_are_served(run: Run, kind: Kind) -> None:
    compare(run, kind, [1000, 1, 127, 1, 513], [1000, 4001, 3000, 65, 640])


@interpreted
@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 70), st.integers(0, 90)), min_size=1, max_size=3),
    st.sampled_from(list(KINDS)),
)
def test_equals_the_definition_at_any_lengths(sizes: list[tuple[int, int]], kind: str) -> None:
    new = [num for num, _ in sizes] + [1]
    compare(INTERPRETED, KINDS[kind], new, [num + before for num, before in sizes] + [1])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", ["gqa", "all"])
def test_chunks_give_the_bits_of_one_prefill(run: Run, kind: str) -> None:
    """A row's bits depend neither on where its step begins nor on the rest of the step."""
    paged, q_THD = run.cache(KINDS[kind], [170, 30]), run.queries(KINDS[kind], 170)
    whole_THD = run.prefill(q_THD, paged.only(0), [170], [170])
    done = 0
    for new in (67, 100, 3):
        beside_THD = run.queries(KINDS[kind], 30, seed=done)
        step_THD = torch.cat([q_THD[done : done + new], beside_THD])
        done += new
        out_THD = run.prefill(step_THD, paged, [new, 30], [done, 30])
        assert torch.equal(out_THD[:new], whole_THD[done - new : done])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_decode_equals_prefill(run: Run, kind: Kind) -> None:
    lengths = [1, 140, 33]
    paged, q_BHD = run.cache(kind, lengths), run.queries(kind, 3)
    decoded = run.decode(q_BHD, paged, lengths)
    prefilled = run.prefill(q_BHD, paged, [1, 1, 1], lengths)
    assert_near("decode", decoded, prefilled, tolerance=run.tolerance)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", ["gqa", "one-to-one", "seven-heads-odd-width"])
def test_prefill_equals_sdpa(run: Run, kind: str) -> None:
    paged, q_THD = run.cache(KINDS[kind], [75]), run.queries(KINDS[kind], 75)
    out_THD = run.prefill(q_THD, paged, [75], [75])
    assert_near("out", out_THD, sdpa(q_THD, paged), tolerance=run.tolerance)


def sdpa(q_THD: Tensor, paged: Paged) -> Tensor:
    k_NGD, v_NGD = paged.keys(0, len(q_THD))
    q_HTD, k_GND, v_GND = (rows.transpose(0, 1) for rows in (q_THD, k_NGD, v_NGD))
    out_1HTD = F.scaled_dot_product_attention(
        q_HTD[None], k_GND[None], v_GND[None],
        is_causal=True, enable_gqa=True, scale=paged.kind.scaling,
    )  # fmt: skip
    return out_1HTD[0].transpose(0, 1)


@pytest.mark.parametrize("run", RUNS)
def test_keys_that_left_the_window_are_not_read(run: Run) -> None:
    """They begin in the midst of a tile, and a block may have been given to another sequence."""
    kind, length = KINDS["all"], 190
    paged, q_BHD = run.cache(kind, [length]), run.queries(kind, 1)
    want = run.prefill(q_BHD, paged, [1], [length])
    decoded = run.decode(q_BHD, paged, [length])
    assert kind.window is not None
    at = torch.arange(length - kind.window, device=run.device)
    blocks = paged.table_BM[0, at // kind.block_tokens].long()
    paged.k_PZGD[blocks, at % kind.block_tokens] = torch.nan
    paged.v_PZGD[blocks, at % kind.block_tokens] = torch.nan
    assert torch.equal(run.prefill(q_BHD, paged, [1], [length]), want)
    assert torch.equal(run.decode(q_BHD, paged, [length]), decoded)


@pytest.mark.parametrize("run", RUNS)
def test_work_follows_the_device_count_and_not_the_capacity(run: Run) -> None:
    """Behind the valid items lies a plausible one: it must not run."""
    kind = KINDS["gqa"]
    paged, q_THD = run.cache(kind, [20, 9]), run.queries(kind, 29)
    roomy = run.cut(kind, [5], [9], capacity=4)
    roomy.items[1:] = torch.tensor([1, 20, 9, 0], dtype=torch.int32)
    tiles = roomy.to(torch.device(run.device))
    out_THD = run.prefill_tiles(q_THD, paged.only(1), tiles)
    assert torch.equal(out_THD[:5], run.prefill(q_THD[:5], paged.only(1), [5], [9]))
    assert out_THD[5:].isnan().all()


@pytest.mark.parametrize("run", RUNS)
def test_step_without_rows_writes_nothing(run: Run) -> None:
    kind = KINDS["gqa"]
    paged = run.cache(kind, [20])
    for capacity in (0, 2):
        tiles = run.cut(kind, [0], [20], capacity=capacity).to(torch.device(run.device))
        assert run.prefill_tiles(run.queries(kind, 3), paged, tiles).isnan().all()


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_blocks_beyond_2_31_elements_are_read(run: Run) -> None:
    kind = LARGE_KINDS["llama"]
    near, q_THD = run.cache(kind, [300]), run.queries(kind, 300)
    first = 2**31 // near.k_PZGD[0].numel()
    far = near._replace(
        k_PZGD=torch.cat([near.k_PZGD.new_zeros(first, *near.k_PZGD.shape[1:]), near.k_PZGD]),
        v_PZGD=torch.cat([near.v_PZGD.new_zeros(first, *near.v_PZGD.shape[1:]), near.v_PZGD]),
        table_BM=near.table_BM + first,
    )
    whole_THD = run.prefill(q_THD, near, [300], [300])
    assert torch.equal(run.prefill(q_THD, far, [300], [300]), whole_THD)
    last_1HD = run.decode(q_THD[-1:], near, [300])
    assert torch.equal(run.decode(q_THD[-1:], far, [300]), last_1HD)


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_captured_at_capacity_serves_every_smaller_step(run: Run) -> None:
    kind, new, lengths = LARGE_KINDS["llama"], [300, 1, 99], [300, 2000, 1099]
    paged, q_THD = run.cache(kind, lengths), run.queries(kind, sum(new))
    tiles = run.cut(kind, new, lengths, capacity=40).to(torch.device("cuda"))
    run.prefill_tiles(q_THD, paged, tiles)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out_THD = run.prefill_tiles(q_THD, paged, tiles)
    for now in (new, [20, 1, 99], [0, 1, 0], [0, 0, 0]):
        tiles.buffer.copy_(run.cut(kind, now, lengths, capacity=40).buffer)
        out_THD.fill_(torch.nan)
        graph.replay()
        want = run.prefill(q_THD[: sum(now)], paged, now, lengths)
        assert torch.equal(out_THD[: sum(now)], want)
        assert out_THD[sum(now) :].isnan().all()


def test_queries_that_are_cut_too_large_are_refused() -> None:
    kind = KINDS["gqa"]
    rows = prefill_tile(kind.head_dim, torch.float32, torch.device("cpu")).rows
    queries = cut_queries(indptr([3]), [3], max_rows=rows // kind.group + 1)
    paged = INTERPRETED.cache(kind, [3])
    message = f"{rows // 2 + 1} tokens of 2 heads exceed a tile of {rows} rows"
    with pytest.raises(ValueError, match=message):
        INTERPRETED.prefill_tiles(INTERPRETED.queries(kind, 3), paged, queries)
