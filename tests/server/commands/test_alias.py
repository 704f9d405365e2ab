"""`weft adapter alias`."""

import pytest

from tests.client.service import State
from weft.protos.v1.adapters_pb2 import SetAliasRequest

from .conftest import Weft


@pytest.mark.parametrize("version", ["x", "0", "-1"])
def test_an_alias_points_to_a_number(weft: Weft, version: str) -> None:
    assert weft("adapter", "alias", "set", "support", "prod", version).code == 2


def test_an_alias_moves_by_compare_and_set(weft: Weft, state: State) -> None:
    ended = weft("adapter", "alias", "set", "support", "prod", "7", "--if-generation", "0")
    assert ended.code == 0
    [request] = [r for r in state.requests if isinstance(r, SetAliasRequest)]
    assert request.HasField("expected_generation")
    weft("adapter", "alias", "set", "support", "prod", "7", "--reason", "tested")
    last = state.requests[-1]
    assert isinstance(last, SetAliasRequest)
    assert (last.HasField("expected_generation"), last.reason) == (False, "tested")


def test_an_alias_is_rolled_back_listed_and_deleted(weft: Weft) -> None:
    lines = weft("adapter", "alias", "rollback", "support", "prod").out.splitlines()
    assert lines[1].split() == ["support:prod", "6", "5", "7"]
    listed = weft("adapter", "alias", "list", "support", "--output", "json")
    assert listed.document[0]["alias"] == "latest"
    assert weft("adapter", "alias", "delete", "support", "prod").out == "support:prod deleted\n"
