import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors import safe_open

from weft.adapters.config import check_config
from weft.adapters.digest import is_digest, tensor_bytes
from weft.adapters.errors import Refused
from weft.adapters.evidence import Evidence
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.adapters.weights import CheckedAdapter, check_adapter, stamp_base

from .adapter_files import AdapterFiles, tiny_files
from .tiny_facts import tiny_facts

LIMITS = Limits(max_rank=64, max_file_bytes=1 << 20, arena_bytes=1 << 20)
Q = "model.layers.0.self_attn.q_proj"
V = "model.layers.1.self_attn.v_proj"
Q_A = f"base_model.model.{Q}.lora_A.weight"
Q_B = f"base_model.model.{Q}.lora_B.weight"
UP_A = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"
UP_B = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
EMBED = "base_model.model.model.embed_tokens.lora_embedding_A"

Change = Callable[[AdapterFiles], AdapterFiles]


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return tiny_facts(tiny_llama)


@pytest.fixture(scope="module")
def files(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterFiles:
    return tiny_files(tiny_llama, tmp_path_factory.mktemp("adapter"))


def check(
    files: AdapterFiles,
    folder: Path,
    facts: BaseFacts,
    *,
    limits: Limits = LIMITS,
    assert_base: bool = False,
    allow_no_effect: bool = False,
) -> CheckedAdapter:
    return check_adapter(
        *files.save(folder),
        facts,
        limits=limits,
        assert_base=assert_base,
        allow_no_effect=allow_no_effect,
    )


def refusals(
    files: AdapterFiles, folder: Path, facts: BaseFacts, *, limits: Limits = LIMITS
) -> list[tuple[str, str]]:
    with pytest.raises(Refused) as caught:
        check(files, folder, facts, limits=limits)
    return [(violation.code, violation.path) for violation in caught.value.violations]


def test_an_adapter_of_peft_is_admitted_with_its_tensors(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    adapter = check(files, tmp_path, facts)
    assert is_digest(adapter.digest)
    assert (adapter.warnings, adapter.evidence, adapter.dtype) == ((), Evidence.NAME, "float32")
    assert [m.name for m in adapter.modules] == sorted(m.name for m in adapter.modules)
    assert len(adapter.modules) == 4
    for module in adapter.modules:
        assert (module.rank, module.scaling) == (4, 2.0)
        key = f"base_model.model.{module.name}.lora_{{}}.weight"
        assert torch.equal(module.a, files.tensors[key.format("A")])
        assert torch.equal(module.b, files.tensors[key.format("B")])


def test_the_tensors_outlive_the_file(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    adapter = check(files, tmp_path, facts)
    for path in tmp_path.iterdir():
        path.unlink()
    assert torch.equal(adapter.modules[0].a, files.tensors[f"base_model.model.{Q}.lora_A.weight"])


REFUSED: dict[str, tuple[Change, list[tuple[str, str]]]] = {
    "wrong value": (lambda f: f.configured(r=0), [("CONFIG_VALUE", "r")]),
    "unknown key": (lambda f: f.configured(quantum=1), [("CONFIG_UNKNOWN", "quantum")]),
    "dora": (lambda f: f.configured(use_dora=True), [("FEATURE_UNSUPPORTED", "use_dora")]),
    "pissa": (
        lambda f: f.configured(init_lora_weights="pissa"),
        [("INIT_NOT_CONVERTED", "init_lora_weights")],
    ),
    "no base": (
        lambda f: f.configured(base_model_name_or_path=None),
        [("BASE_UNKNOWN", "base_model_name_or_path")],
    ),
    "another base": (
        lambda f: f.configured(base_model_name_or_path="org/other"),
        [("BASE_MISMATCH", "base_model_name_or_path")],
    ),
    "another base's digest": (
        lambda f: replace(f, metadata={"weft_base": "sha256:other"}),
        [("BASE_MISMATCH", "weft_base")],
    ),
    "foreign key": (
        lambda f: f.with_tensors({"extra": torch.ones(1)}),
        [("KEY_FORM", "extra")],
    ),
    "unknown module": (
        lambda f: f.configured(target_modules=["q_proj", "v_proj", "x_proj"]).with_tensors(
            {"base_model.model.x_proj.lora_A.weight": torch.ones(4, 64)}
        ),
        [("TENSOR_UNMATCHED", "x_proj")],
    ),
    "half a pair": (lambda f: f.with_tensors({Q_A: None}), [("TENSOR_PAIR", Q)]),
    "lm_head": (
        lambda f: f.configured(target_modules=["q_proj", "v_proj", "lm_head"]),
        [("TARGET_UNSUPPORTED", "lm_head")],
    ),
    "embedding": (
        lambda f: f.with_tensors({EMBED: torch.ones(4, 4)}),
        [("TARGET_UNSUPPORTED", "model.embed_tokens")],
    ),
    "no tensors for a module": (
        lambda f: f.with_tensors({Q_A: None, Q_B: None}),
        [("TARGET_MISSING", Q)],
    ),
    "tensors of a module that is not selected": (
        lambda f: f.with_tensors({UP_A: torch.ones(4, 64), UP_B: torch.ones(128, 4)}),
        [("TARGET_EXTRA", "model.layers.0.mlp.up_proj")],
    ),
    "A of another width": (
        lambda f: f.with_tensors({Q_A: torch.ones(4, 65)}),
        [("SHAPE_MISMATCH", Q_A)],
    ),
    "B of another height": (
        lambda f: f.with_tensors({Q_B: torch.ones(32, 4)}),
        [("SHAPE_MISMATCH", Q_B)],
    ),
    "B of another rank than A": (
        lambda f: f.with_tensors({Q_B: torch.ones(64, 3)}),
        [("SHAPE_MISMATCH", Q_B)],
    ),
    "A of no rank": (
        lambda f: f.with_tensors({Q_A: torch.ones(0, 64)}),
        [("SHAPE_MISMATCH", Q_A)],
    ),
    "three dimensions": (
        lambda f: f.with_tensors({Q_A: torch.ones(4, 64, 1)}),
        [("SHAPE_MISMATCH", Q_A)],
    ),
    "another rank than the config's": (
        lambda f: f.with_tensors({Q_A: torch.ones(3, 64), Q_B: torch.ones(64, 3)}),
        [("RANK_MISMATCH", Q)],
    ),
    "an unmatched pattern": (
        lambda f: f.configured(rank_pattern={"k_proj": 2}),
        [("PATTERN_UNMATCHED", "rank_pattern.k_proj")],
    ),
    "float64": (
        lambda f: f.with_tensors({Q_A: torch.ones(4, 64, dtype=torch.float64)}),
        [("DTYPE", Q_A)],
    ),
    "integers": (
        lambda f: f.with_tensors({Q_B: torch.ones(64, 4, dtype=torch.int8)}),
        [("DTYPE", Q_B)],
    ),
    "NaN in A": (
        lambda f: f.with_tensors({Q_A: torch.full((4, 64), torch.nan)}),
        [("NOT_FINITE", Q_A)],
    ),
    "infinity in B": (
        lambda f: f.with_tensors({Q_B: torch.full((64, 4), -torch.inf)}),
        [("NOT_FINITE", Q_B)],
    ),
    "alpha 0": (
        lambda f: f.configured(lora_alpha=0),
        [("SCALE_RANGE", Q), ("NO_EFFECT", "")],
    ),
    "negative alpha": (lambda f: f.configured(lora_alpha=-8), [("SCALE_RANGE", Q)]),
    "every B is zero": (
        lambda f: f.with_tensors({k: t * 0 for k, t in f.tensors.items() if "lora_B" in k}),
        [("NO_EFFECT", "")],
    ),
    "no tensors at all": (
        lambda f: replace(f.configured(target_modules=[]), tensors={}),
        [("NO_EFFECT", "")],
    ),
}


@pytest.mark.parametrize(("change", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_is_refused_by_its_code(
    change: Change,
    expected: list[tuple[str, str]],
    files: AdapterFiles,
    facts: BaseFacts,
    tmp_path: Path,
) -> None:
    assert refusals(change(files), tmp_path, facts) == expected


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (replace(LIMITS, max_rank=3), "RANK_LIMIT"),
        (replace(LIMITS, arena_bytes=4 * 4 * (128 + 96) * 2 - 1), "IMAGE_TOO_LARGE"),
        (replace(LIMITS, max_file_bytes=4000), "FILE_TOO_LARGE"),
    ],
)
def test_a_limit_refuses_what_is_above_it(
    limits: Limits, code: str, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    assert [found for found, _ in refusals(files, tmp_path, facts, limits=limits)] == [code]


def test_what_is_exactly_at_the_limits_is_admitted(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    _, weights = files.save(tmp_path)
    limits = Limits(
        max_rank=4, max_file_bytes=weights.stat().st_size, arena_bytes=4 * 4 * (128 + 96) * 2
    )
    assert check(files, tmp_path, facts, limits=limits).modules


@pytest.mark.parametrize("key", [Q_A, Q_B])
def test_a_value_that_overflows_in_the_serving_dtype_is_refused(
    key: str, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    large = files.with_tensors({key: torch.full_like(files.tensors[key], 7e4)})
    check(large, tmp_path, facts)
    half = replace(facts, dtype="float16")
    assert refusals(large, tmp_path, half) == [("NOT_FINITE", key)]


def test_scaling_that_overflows_b_is_refused(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    half = replace(facts, dtype="float16")
    assert (refusals(files.configured(lora_alpha=4e6), tmp_path, half)[0][0]) == "NOT_FINITE"


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_refused(
    name: str, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    paths = files.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(Refused) as caught:
        check_adapter(*paths, facts, limits=LIMITS)
    assert ("FILE_SET", name) in [(v.code, v.path) for v in caught.value.violations]


def test_a_config_above_the_limit_is_refused_unread(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    huge = files.configured(peft_version="x" * (1 << 20))
    assert ("FILE_TOO_LARGE", "adapter_config.json") in refusals(huge, tmp_path, facts)


def test_broken_files_are_both_named(facts: BaseFacts, tmp_path: Path) -> None:
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    config.write_text("{")
    torch.save({}, weights)
    with pytest.raises(Refused) as caught:
        check_adapter(config, weights, facts, limits=LIMITS)
    assert [v.code for v in caught.value.violations] == ["CONFIG_JSON", "FILE_FORMAT"]


def test_all_violations_come_back_together(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    broken = files.configured(
        use_dora=True,
        bias="all",
        rank_pattern={"x": 3},
        base_model_name_or_path="org/other",
        lora_alpha=-1,
    ).with_tensors(
        {
            Q_A: None,
            Q_B: torch.full((64, 4), torch.nan),
            f"base_model.model.{V}.lora_A.weight": torch.full((4, 64), torch.nan),
            UP_A: torch.ones(4, 64),
            UP_B: torch.ones(127, 4),
            "base_model.model.x.lora_A.weight": torch.ones(4, 4),
            "junk": torch.ones(1),
        }
    )
    assert {code for code, _ in refusals(broken, tmp_path, facts)} == {
        "FEATURE_UNSUPPORTED",
        "PATTERN_UNMATCHED",
        "BASE_MISMATCH",
        "SCALE_RANGE",
        "TENSOR_PAIR",
        "NOT_FINITE",
        "TARGET_EXTRA",
        "SHAPE_MISMATCH",
        "TENSOR_UNMATCHED",
        "KEY_FORM",
    }


def test_the_base_can_be_asserted(files: AdapterFiles, facts: BaseFacts, tmp_path: Path) -> None:
    for name in (None, "org/other"):
        adapter = check(
            files.configured(base_model_name_or_path=name), tmp_path, facts, assert_base=True
        )
        assert adapter.evidence is Evidence.ASSERTED


def test_an_adapter_without_effect_can_be_allowed(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    zero = files.with_tensors({k: t * 0 for k, t in files.tensors.items() if "lora_B" in k})
    adapter = check(zero, tmp_path, facts, allow_no_effect=True)
    assert [w.code for w in adapter.warnings] == ["ZERO_MODULE"] * 4


@pytest.mark.parametrize("key", [Q_A, Q_B])
def test_some_modules_without_effect_are_a_warning(
    key: str, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    changed = files.with_tensors({key: torch.zeros_like(files.tensors[key])})
    adapter = check(changed, tmp_path, facts)
    assert [(w.code, w.path) for w in adapter.warnings] == [("ZERO_MODULE", Q)]


def test_a_stamped_adapter_names_its_base_by_digest(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    unnamed = files.configured(base_model_name_or_path=None)
    paths = replace(unnamed, metadata={"format": "pt"}).save(tmp_path)
    stamp_base(paths[1], facts.digest, template_digest="sha256:another")
    adapter = check_adapter(*paths, facts, limits=LIMITS)
    assert adapter.evidence is Evidence.DIGEST
    assert [w.code for w in adapter.warnings] == ["TEMPLATE_DIFFERS"]
    with safe_open(paths[1], "pt") as file:
        assert file.metadata()["format"] == "pt"


SAME: dict[str, Change] = {
    "metadata": lambda f: replace(f, metadata={"any": "thing"}),
    "no prefix": lambda f: renamed(f, lambda k: k.removeprefix("base_model.model.")),
    "compiled": lambda f: renamed(f, lambda k: f"_orig_mod.{k}"),
    "training form": lambda f: renamed(f, lambda k: k.replace(".weight", ".default.weight")),
    "dropout": lambda f: f.configured(lora_dropout=0.3, inference_mode=False),
    "revision": lambda f: f.configured(revision="main"),
    "the same modules by pattern": lambda f: f.configured(target_modules=r".*\.(q|v)_proj"),
    "the same scaling": lambda f: f.configured(lora_alpha=4, use_rslora=True),
    "the same scaling by pattern": lambda f: f.configured(
        lora_alpha=1, alpha_pattern={"q_proj": 8, "v_proj": 8.0}
    ),
}
OTHER: dict[str, Change] = {
    "alpha": lambda f: f.configured(lora_alpha=9),
    "rslora": lambda f: f.configured(use_rslora=True),
    "one value": lambda f: f.with_tensors({Q_A: f.tensors[Q_A] + torch.eye(4, 64)}),
    "dtype": lambda f: f.with_tensors({Q_A: f.tensors[Q_A].bfloat16()}),
}


def renamed(files: AdapterFiles, rename: Callable[[str], str]) -> AdapterFiles:
    return replace(files, tensors={rename(key): t for key, t in files.tensors.items()})


@pytest.mark.parametrize("change", SAME.values(), ids=SAME.keys())
def test_what_computes_the_same_has_the_same_digest(
    change: Change, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    one, other = (check(f, tmp_path, facts).digest for f in (files, change(files)))
    assert one == other


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER.keys())
def test_what_computes_something_else_has_another_digest(
    change: Change, files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    one, other = (check(f, tmp_path, facts).digest for f in (files, change(files)))
    assert one != other


def test_the_order_of_tensors_in_the_file_does_not_matter(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    digest = check(files, tmp_path, facts).digest
    config, weights = files.save(tmp_path)
    header: dict[str, object] = {}
    data = b""
    for key, tensor in reversed(list(files.tensors.items())):
        end = len(data) + tensor.nbytes
        shape = list(tensor.shape)
        header[key] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), end]}
        data += bytes(tensor_bytes(tensor))
    text = json.dumps(header).encode()
    weights.write_bytes(len(text).to_bytes(8, "little") + text + data)
    assert check_adapter(config, weights, facts, limits=LIMITS).digest == digest


def test_another_base_is_another_digest(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    other = replace(facts, digest="sha256:" + "1" * 64)
    assert check(files, tmp_path, facts).digest != check(files, tmp_path, other).digest


def test_the_serving_dtype_is_no_part_of_the_digest(
    files: AdapterFiles, facts: BaseFacts, tmp_path: Path
) -> None:
    half = check(files, tmp_path, replace(facts, dtype="bfloat16"))
    assert half.digest == check(files, tmp_path, facts).digest
    assert half.dtype == "bfloat16"


@pytest.mark.parametrize(
    "lora",
    [
        LoraConfig(r=3, lora_alpha=5, target_modules="all-linear"),
        LoraConfig(r=8, target_modules=["q_proj", "o_proj"], rank_pattern={"q_proj": 2}),
        LoraConfig(r=4, use_rslora=True, target_modules=["down_proj"], layers_to_transform=[1]),
        LoraConfig(r=2, target_modules=r".*\.up_proj", init_lora_weights="gaussian"),
    ],
    ids=["all-linear", "rank pattern", "one layer", "pattern"],
)
def test_what_peft_saves_is_admitted(
    lora: LoraConfig, tiny_llama: Path, facts: BaseFacts, tmp_path: Path
) -> None:
    files = tiny_files(tiny_llama, tmp_path / "peft", lora)
    adapter = check(files, tmp_path, facts)
    assert 2 * len(adapter.modules) == len(files.tensors)
    assert check_config(json.dumps(files.config).encode()).warnings == ()
