import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.kernels.attention_decode import attention_decode

from .attention_cases import (
    COMPILED_RUNS,
    KINDS,
    LARGE_KINDS,
    NUM_SPLITS,
    RUNS,
    Kind,
    Run,
    define,
)
from .cases import assert_near, interpreted

# One key, primes, a full block; one split and one more; three splits, and then longer ones.
LENGTHS = [1, 7, 16, 0, 256, 257, 769, 131]
INTERPRETED = Run("cpu", torch.float32)


def compare(run: Run, kind: Kind, lengths: list[int]) -> None:
    paged = run.cache(kind, lengths)
    q_BHD = run.queries(kind, len(lengths))
    out_BHD = run.decode(q_BHD, paged, lengths)
    new_B = [min(length, 1) for length in lengths]
    present = [length > 0 for length in lengths]
    some = paged._replace(table_BM=paged.table_BM[present])
    want = define(q_BHD[present], some, [1] * sum(new_B), [n for n in lengths if n > 0])
    assert_near("out", out_BHD[present], want, tolerance=run.tolerance)
    assert (out_BHD[[length == 0 for length in lengths]] == 0).all()


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_equals_the_definition_and_padding_rows_are_zero(run: Run, kind: Kind) -> None:
    compare(run, kind, LENGTHS)


@pytest.mark.parametrize("run", COMPILED_RUNS)
@pytest.mark.parametrize("kind", LARGE_KINDS.values(), ids=LARGE_KINDS)
def test_equals_the_definition_at_sizes_that_are_served(run: Run, kind: Kind) -> None:
    compare(run, kind, [4096, 1, 0, 128, 2049, 5003, 257])


@interpreted
@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 800), min_size=1, max_size=3), st.sampled_from(list(KINDS)))
def test_equals_the_definition_at_any_lengths(lengths: list[int], kind: str) -> None:
    compare(INTERPRETED, KINDS[kind], [*lengths, 1])


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", ["gqa", "all"])
def test_bits_of_a_row_do_not_depend_on_the_others(run: Run, kind: str) -> None:
    paged = run.cache(KINDS[kind], LENGTHS)
    q_BHD = run.queries(KINDS[kind], len(LENGTHS))
    out_BHD = run.decode(q_BHD, paged, LENGTHS)
    for b in (1, 6):
        alone_1HD = run.decode(q_BHD[b : b + 1], paged.only(b), LENGTHS[b : b + 1])
        assert torch.equal(alone_1HD[0], out_BHD[b])


@pytest.mark.parametrize("run", RUNS)
def test_same_input_gives_the_same_bits_and_leaves_no_ticket(run: Run) -> None:
    kind, lengths = KINDS["gqa"], [769, 257, 600]
    paged, q_BHD = run.cache(kind, lengths), run.queries(KINDS["gqa"], 3)
    workspace = run.workspace(kind, 5)
    first = run.decode(q_BHD, paged, lengths, workspace)
    for _ in range(100 if run.device == "cuda" else 2):
        assert torch.equal(run.decode(q_BHD, paged, lengths, workspace), first)
    assert (workspace.tickets == 0).all()


@pytest.mark.parametrize("run", RUNS)
def test_surplus_splits_write_nothing(run: Run) -> None:
    """A sequence within one split leaves no partial result, one of 257 keys (fp32) leaves two."""
    kind = KINDS["gqa"]
    paged, workspace = run.cache(kind, [256, 257]), run.workspace(kind, 2)
    run.decode(run.queries(kind, 2), paged, [256, 257], workspace)
    written = workspace.sums.view(2, kind.num_kv_heads, NUM_SPLITS, -1).isfinite().all(-1)
    assert written[0].sum(1).tolist() == [0, 0]
    assert written[1].tolist() == [[True, True, False]] * 2


@interpreted
def test_sequences_that_share_blocks_attend_to_them_all() -> None:
    paged = INTERPRETED.cache(KINDS["gqa"], [40])
    twice = paged._replace(table_BM=paged.table_BM.repeat(2, 1))
    q_BHD = INTERPRETED.queries(KINDS["gqa"], 1).repeat(2, 1, 1)
    both = INTERPRETED.decode(q_BHD, twice, [40, 33])
    assert torch.equal(both[0], INTERPRETED.decode(q_BHD[:1], paged, [40])[0])
    assert torch.equal(both[1], INTERPRETED.decode(q_BHD[:1], paged, [33])[0])


@pytest.mark.parametrize("run", COMPILED_RUNS)
def test_graph_captured_at_capacity_serves_every_smaller_step(run: Run) -> None:
    kind, lengths = LARGE_KINDS["llama"], [700, 1, 4096, 64, 65, 3000, 128, 31]
    paged, q_BHD = run.cache(kind, lengths), run.queries(kind, 8)
    workspace = run.workspace(kind, 8)
    kv_len_B = torch.tensor(lengths, dtype=torch.int32, device="cuda")

    def step() -> torch.Tensor:
        return attention_decode(
            q_BHD,
            paged.k_PZGD,
            paged.v_PZGD,
            paged.table_BM,
            kv_len_B,
            num_splits=NUM_SPLITS,
            workspace=workspace,
            **paged.options,
        )

    step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out_BHD = step()
    for num_sequences in (8, 3, 1, 0):
        now = [*lengths[:num_sequences], *[0] * (8 - num_sequences)]
        kv_len_B.copy_(torch.tensor(now, dtype=torch.int32))
        out_BHD.fill_(torch.nan)
        graph.replay()
        assert torch.equal(out_BHD, run.decode(q_BHD, paged, now))


def test_workspace_that_is_too_small_is_refused() -> None:
    paged = INTERPRETED.cache(KINDS["gqa"], [5, 9])
    small = INTERPRETED.workspace(KINDS["gqa"], 1)
    message = r"a workspace of \(192, 24, 2\) elements, the step needs \(384, 48, 4\)"
    with pytest.raises(ValueError, match=message):
        INTERPRETED.decode(INTERPRETED.queries(KINDS["gqa"], 2), paged, [5, 9], small)


def test_lengths_of_another_type_are_refused() -> None:
    paged = INTERPRETED.cache(KINDS["gqa"], [5])
    with pytest.raises(ValueError, match=r"kv_len is torch\.int64 \(1,\), not int32 \[B\]"):
        attention_decode(
            INTERPRETED.queries(KINDS["gqa"], 1),
            paged.k_PZGD,
            paged.v_PZGD,
            paged.table_BM,
            torch.tensor([5]),
            num_splits=NUM_SPLITS,
            workspace=INTERPRETED.workspace(KINDS["gqa"], 1),
            **paged.options,
        )


def test_step_without_sequences_has_no_output() -> None:
    paged = INTERPRETED.cache(KINDS["gqa"], [5])
    none = paged._replace(table_BM=paged.table_BM[:0])
    assert INTERPRETED.decode(INTERPRETED.queries(KINDS["gqa"], 0), none, []).shape == (0, 4, 16)
