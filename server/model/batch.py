"""One step as the model sees it: packed rows, and where each sequence's keys lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from weft.kernels.query_tiles import QueryTiles
from weft.kernels.segments import Segments


@dataclass(frozen=True, slots=True, eq=False)
class ModelBatch:
    """The rows of one step, packed one sequence after another, without padding.

    Attributes:
        tokens_T: int64.
        positions_T: int64, the position of each row in its own sequence.
        cache_index_T: int64, `block * Z + offset`: where the row's key and value are written.
        indptr_B1: On the host; sequence b owns rows `indptr_B1[b]:indptr_B1[b + 1]`, never none.
        kv_len_B: On the host; keys of the sequence after this step, its own rows included.
        block_table_BM: int32; entries behind a sequence's last block are not read.
        logit_rows: int64, the rows whose logits are wanted; may be empty.
        segments: The adapted rows; None = base rows only.
        kv_len: `kv_len_B` on the device, int32, where the step brings it; None = it has to be sent.
        queries: The rows in tiles for the prefill kernel, on the device, by the tokens of a tile,
            where the step brings them; None = they have to be cut and sent.
    """

    tokens_T: Tensor
    positions_T: Tensor
    cache_index_T: Tensor
    indptr_B1: Sequence[int]
    kv_len_B: Sequence[int]
    block_table_BM: Tensor
    logit_rows: Tensor
    segments: Segments | None = None
    kv_len: Tensor | None = None
    queries: Mapping[int, QueryTiles] | None = None
