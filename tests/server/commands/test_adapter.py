"""`weft adapter`."""

from pathlib import Path

import pytest

from tests.client.service import DIGEST, State
from weft.protos.v1.adapters_pb2 import DeleteVersionRequest, PublishAdapterRequest
from weft.protos.v1.types_pb2 import AdaptedModule, Provenance, Version
from weft.server.commands.adapter import describe

from .conftest import Weft


def test_publish_names_the_version(weft: Weft, state: State, adapter: Path) -> None:
    ended = weft(
        *("adapter", "publish", "support", adapter, "--alias", "prod=0", "--no-latest"),
        *("--label", "team=a", "--assert-base"),
    )
    assert (ended.code, ended.out) == (0, f"support@1  {DIGEST}\n")
    [request] = [r for r in state.requests if isinstance(r, PublishAdapterRequest)]
    assert request.aliases[0].HasField("expected_generation")
    assert (request.no_latest, request.assert_base) == (True, True)
    assert dict(request.labels) == {"team": "a"}
    assert not request.validate_only


def test_a_dry_run_publishes_nothing(weft: Weft, state: State, adapter: Path) -> None:
    assert "would be admitted" in weft("adapter", "publish", "a", adapter, "--dry-run").out
    assert "validate_only: true" in str(state.requests[-1])


def test_a_refused_adapter_is_refused_with_every_violation(weft: Weft, adapter: Path) -> None:
    ended = weft("adapter", "publish", "refused", adapter)
    assert ended.code == 7
    assert ended.err == (
        "weft: ADAPTER_REFUSED: rank 96 exceeds 64\n  RANK_LIMIT r: found 96, expected 64\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["publish", "a", "."],
        ["publish", "a", "nowhere"],
        ["retire", "support"],
        ["delete", "support:prod", "--yes"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(weft: Weft, arguments: list[str]) -> None:
    folder = ["--alias", "prod=x"] if arguments[-1] == "." else []
    assert weft("adapter", *arguments, *folder).code == 2


def test_a_folder_without_safetensors_is_no_adapter(weft: Weft, adapter: Path) -> None:
    weights = adapter / "adapter_model.safetensors"
    weights.rename(adapter / "adapter_model.bin")
    ended = weft("adapter", "publish", "a", adapter)
    assert (ended.code, str(weights) in ended.err) == (2, True)


def test_a_label_is_a_pair(weft: Weft, adapter: Path) -> None:
    assert weft("adapter", "publish", "a", adapter, "--label", "team").code == 2


def test_adapters_are_listed_with_their_aliases(weft: Weft) -> None:
    assert weft("adapter", "list").out.splitlines()[1].split() == ["support", "7", "latest→7"]


def test_a_version_is_shown_by_any_reference(weft: Weft) -> None:
    ended = weft("adapter", "show", "support:prod", "--output", "json")
    assert (ended.code, ended.document["version"]) == (0, 7)


def test_a_version_is_described_by_what_is_known_of_it() -> None:
    version = Version(
        adapter="support",
        version=7,
        modules=[AdaptedModule(module="q_proj", rank=8, scaling=2)],
        provenance=Provenance(job="jobs/j1", datasets=["datasets/d1"]),
    )
    text = "\n".join(describe(version))
    for part in ("support@7", "q_proj", "jobs/j1", "datasets/d1"):
        assert part in text
    assert "parent" not in text


def test_pull_writes_the_files(weft: Weft, tmp_path: Path) -> None:
    assert weft("adapter", "pull", "support", tmp_path / "out").out == (
        f"support@7 → {tmp_path / 'out'}\n"
    )
    again = weft("adapter", "pull", "support", tmp_path / "out")
    assert (again.code, "exists" in again.err) == (4, True)
    assert weft("adapter", "pull", "support", tmp_path / "out", "--force").code == 0


def test_a_corrupt_download_fails(weft: Weft, state: State, tmp_path: Path) -> None:
    state.corrupt = True
    assert weft("adapter", "pull", "support", tmp_path / "out").code == 1


def test_a_version_is_retired(weft: Weft) -> None:
    assert weft("adapter", "retire", "support@6").out == "support@6 retired\n"


def test_versions_are_listed_with_their_labels(weft: Weft) -> None:
    lines = weft("adapter", "list", "--versions", "--labels").out.splitlines()
    assert lines[0].split()[-1] == "labels"
    assert lines[1].split() == ["support@7", "published", "8", "1.0", "KiB", "d" * 12, "team=a"]


def test_a_restored_version_answers_again(weft: Weft) -> None:
    assert weft("adapter", "restore", "support@6").out == "support@6 restored\n"


def test_deleting_asks_first(weft: Weft, state: State) -> None:
    assert weft("adapter", "delete", "support@6", stdin="n\n").code == 130
    assert weft("adapter", "delete", "support@6", stdin="").code == 130
    assert state.seen(DeleteVersionRequest) == []
    assert weft("adapter", "delete", "support@6", stdin="y\n").out == "support@6 deleted\n"
    assert weft("adapter", "delete", "support@6", "--yes").code == 0
