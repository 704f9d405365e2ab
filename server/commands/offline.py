"""What the commands judge without a server; it needs the packages of one."""

from pathlib import Path

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from weft.adapters.dataset import read_dataset
from weft.adapters.findings import Findings, merge_findings
from weft.adapters.options import read_options
from weft.adapters.prepare import Report, prepare
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, check_adapter
from weft.client.transfer import adapter_paths
from weft.server.config import EngineConfig, default_device, default_dtype, default_name
from weft.server.model.checkpoint import resolve_model
from weft.server.model.facts import base_facts

MAX_BYTES = 1 << 40


def check_adapter_folder(folder: Path, base: str, *, assert_base: bool) -> CheckedAdapter:
    """Judge an adapter in PEFT's layout as a server with this base and no other limits would.

    Raises:
        Refused: With every violation.
    """
    config, weights = adapter_paths(folder)
    facts = base_facts(
        base, name=default_name(base), dtype=default_dtype(default_device()), hash_cache=None
    )
    limits = Limits(
        max_rank=EngineConfig().max_rank, max_file_bytes=MAX_BYTES, arena_bytes=MAX_BYTES
    )
    return check_adapter(config, weights, facts, limits=limits, assert_base=assert_base)


def check_rows(path: Path) -> Findings:
    """Find what is wrong with a data set's rows, whatever the base."""
    return merge_findings([read_dataset(path).findings])


def check_training(path: Path, base: str, *, max_tokens: int | None) -> Report:
    """Find what is wrong with a data set, and what of it would be trained with this base."""
    folder = resolve_model(base)
    config = AutoConfig.from_pretrained(folder).get_text_config()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    dataset = read_dataset(path)
    prepared = prepare(
        dataset.rows,
        tokenizer,
        read_options({} if max_tokens is None else {"max_tokens": max_tokens}),
        max_context=config.max_position_embeddings,
        end_ids=end_ids(folder) | {tokenizer.eos_token_id},
        found=merge_findings([dataset.findings]),
    )
    return prepared.report


def end_ids(folder: Path) -> frozenset[int]:
    """Tokens that end a turn by the generation config, where the model has one."""
    if not (folder / "generation_config.json").exists():
        return frozenset()
    given = GenerationConfig.from_pretrained(folder).eos_token_id
    return frozenset([given] if isinstance(given, int) else given or [])
