"""What the commands judge without a server."""

import json
from pathlib import Path

import pytest

from tests.tiny import save_tiny_adapter
from weft.adapters.errors import Refused
from weft.server.commands.offline import check_adapter_folder, check_training

from .conftest import Weft


@pytest.fixture
def fitting(tiny_llama: Path, tmp_path: Path) -> Path:
    return save_tiny_adapter(tiny_llama, tmp_path / "fitting")


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_adapter_that_fits_is_admitted(fitting: Path, tiny_llama: Path) -> None:
    checked = check_adapter_folder(fitting, str(tiny_llama), assert_base=True)
    assert checked.digest.startswith("sha256:")
    assert {module.rank for module in checked.modules} == {4}


def test_an_adapter_that_does_not_fit_is_refused_whole(fitting: Path, tiny_llama: Path) -> None:
    change_config(fitting, use_dora=True, r=8)
    with pytest.raises(Refused) as raised:
        check_adapter_folder(fitting, str(tiny_llama), assert_base=True)
    codes = {violation.code for violation in raised.value.violations}
    assert {"FEATURE_UNSUPPORTED", "RANK_MISMATCH"} <= codes


def test_the_command_says_what_admission_says(weft: Weft, fitting: Path, tiny_llama: Path) -> None:
    check = ("adapter", "check", fitting, "--base", tiny_llama)
    admitted = weft(*check, "--assert-base")
    assert (admitted.code, admitted.out.split()[0]) == (0, "admitted")
    assert weft(*check, "--assert-base", "--output", "json").document["max_rank"] == 4
    change_config(fitting, use_dora=True)
    refused = weft(*check)
    assert refused.code == 7
    first, *found = refused.err.splitlines()
    assert first == "weft: ADAPTER_REFUSED: 2 reasons"
    assert sorted(line.split()[0] for line in found) == ["BASE_UNKNOWN", "FEATURE_UNSUPPORTED"]


def test_a_base_that_is_none_fails(weft: Weft, fitting: Path, tmp_path: Path) -> None:
    assert weft("adapter", "check", fitting, "--base", tmp_path).code == 1


def test_training_is_judged_with_the_limit_that_is_given(tmp_path: Path, tiny_llama: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": f"row {i} " * 20}) + "\n" for i in range(60)))
    whole = check_training(path, str(tiny_llama), max_tokens=None)
    cut = check_training(path, str(tiny_llama), max_tokens=8)
    assert whole.train.tokens > cut.train.tokens
    assert "L401" in cut.findings.counts
