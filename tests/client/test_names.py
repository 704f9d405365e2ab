"""What a person types becomes what the wire says."""

import pytest

from weft.client.names import alias_move, resource_name, version_name


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("support@7", "adapters/support/versions/7"),
        ("shared/greeter@2", "adapters/shared/greeter/versions/2"),
    ],
)
def test_a_numbered_reference_names_a_version(reference: str, name: str) -> None:
    assert version_name(reference) == name


@pytest.mark.parametrize("reference", ["support", "support:prod", "sha256:00", ""])
def test_a_reference_that_can_move_names_no_version(reference: str) -> None:
    with pytest.raises(ValueError, match="names no version"):
        version_name(reference)


def test_an_alias_moves_unconditionally_or_at_a_generation() -> None:
    assert not alias_move("prod").HasField("expected_generation")
    assert alias_move("prod=0").HasField("expected_generation")
    assert (alias_move("prod=3").alias, alias_move("prod=3").expected_generation) == ("prod", 3)


@pytest.mark.parametrize("text", ["prod=", "prod=x", "prod=-1"])
def test_a_generation_is_a_number(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        alias_move(text)


def test_an_id_is_completed_and_a_name_is_kept() -> None:
    assert resource_name("jobs", "j1") == resource_name("jobs", "jobs/j1") == "jobs/j1"
