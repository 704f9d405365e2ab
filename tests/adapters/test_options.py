"""Options of a job: read, refused by name, written back."""

import pytest

from weft.adapters.errors import OptionsInvalid, Unsupported
from weft.adapters.options import UNSUPPORTED, FinetuneOptions, LoraOptions, read_options

FULL = FinetuneOptions(
    lora=LoraOptions(
        rank=8,
        alpha=12.5,
        rslora=True,
        targets=("attention", "up_proj"),
        rank_pattern={"q_proj": 4},
        alpha_pattern={"layers.0.*": 3.5},
        dropout=0.1,
    ),
    learning_rate=1e-3,
    schedule="linear",
    warmup=0.5,
    batch_tokens=100,
    max_tokens=64,
    truncate="error",
    drop_masked=True,
    packing=False,
    loss="all",
    epochs=1.5,
    max_steps=7,
    weight_decay=0.01,
    grad_clip=0.5,
    seed=2**64 - 1,
    eval_every=3,
    eval_fraction=0.1,
    checkpoint_every=5,
)


@pytest.mark.parametrize("options", [FinetuneOptions(), FULL])
def test_options_are_read_as_they_were_written(options: FinetuneOptions) -> None:
    assert read_options(options.to_json()) == options


def test_absent_and_null_are_the_defaults() -> None:
    assert read_options({}) == read_options({"lora": {}, "seed": None}) == FinetuneOptions()
    assert read_options({"lora": {"rank": None}}).lora.rank == 16


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"lora": {"rank": 0}}, "lora.rank"),
        ({"lora": {"rank": 257}}, "lora.rank"),
        ({"lora": {"rank": 8.0}}, "lora.rank"),
        ({"lora": {"rank": True}}, "lora.rank"),
        ({"lora": {"alpha": 0}}, "lora.alpha"),
        ({"lora": {"alpha": float("nan")}}, "lora.alpha"),
        ({"lora": {"rslora": 1}}, "lora.rslora"),
        ({"lora": {"targets": []}}, "lora.targets"),
        ({"lora": {"targets": "mlp"}}, "lora.targets"),
        ({"lora": {"targets": [1]}}, "lora.targets"),
        ({"lora": {"rank_pattern": {"q_proj": 0}}}, "lora.rank_pattern"),
        ({"lora": {"alpha_pattern": {"": 1}}}, "lora.alpha_pattern"),
        ({"lora": {"dropout": 0.6}}, "lora.dropout"),
        ({"lora": {"ranks": 8}}, "lora.ranks"),
        ({"lora": 8}, "lora"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": "1e-4"}, "learning_rate"),
        ({"schedule": "step"}, "schedule"),
        ({"warmup": 1.1}, "warmup"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"max_tokens": 1}, "max_tokens"),
        ({"truncate": True}, "truncate"),
        ({"epochs": 0}, "epochs"),
        ({"max_steps": 0}, "max_steps"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"grad_clip": 0}, "grad_clip"),
        ({"seed": -1}, "seed"),
        ({"eval_fraction": 0.6}, "eval_fraction"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_value_out_of_bounds_is_refused_by_name(given: dict[str, object], path: str) -> None:
    with pytest.raises(OptionsInvalid) as caught:
        read_options(given)
    (violation,) = caught.value.violations
    assert (violation.code, violation.path) == ("OPTION_VALUE", path)


def test_every_violation_is_named_with_value_and_limit() -> None:
    with pytest.raises(OptionsInvalid) as caught:
        read_options({"lora": {"rank": 65}, "warmup": 2, "x": 1}, max_rank=64)
    assert [v.path for v in caught.value.violations] == ["lora.rank", "warmup", "x"]
    first = caught.value.violations[0]
    assert (first.found, first.expected) == ("65", "a whole number from 1 to 64")


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_option_that_is_not_built_is_refused_unless_it_is_off(name: str) -> None:
    prefix, _, key = name.rpartition(".")

    def given(value: object) -> dict[str, object]:
        return {prefix: {key: value}} if prefix else {key: value}

    assert read_options(given(UNSUPPORTED[name])) == FinetuneOptions()
    with pytest.raises(Unsupported, match=name) as caught:
        read_options(given("something else"))
    assert caught.value.metadata["features"] == name
