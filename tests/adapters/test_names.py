"""Names and references."""

import pytest

from weft.adapters.errors import ModelNotFound
from weft.adapters.names import (
    AliasReference,
    DigestReference,
    Reference,
    VersionReference,
    is_name,
    parse_reference,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4

REFERENCES: dict[str, Reference] = {
    "support": AliasReference(False, "support", "latest"),
    "support:prod": AliasReference(False, "support", "prod"),
    "support@7": VersionReference(False, "support", 7),
    "shared/greeter": AliasReference(True, "greeter", "latest"),
    "shared/greeter@2": VersionReference(True, "greeter", 2),
    "shared/greeter:v1.0_rc-1": AliasReference(True, "greeter", "v1.0_rc-1"),
    DIGEST: DigestReference(DIGEST),
}

NO_REFERENCES = [
    "",
    " ",
    "Support",
    "support@",
    "support@0",
    "support@-1",
    "support@07",
    "support@1:prod",
    "support:",
    "support:prod@1",
    "-support",
    "support-",
    "a/b",
    "shared/",
    "shared/shared",
    "shared",
    "sha256",
    "sha256:0123",
    DIGEST.upper(),
    f"shared/{DIGEST}",
    "s" * 64,
]


@pytest.mark.parametrize("text", REFERENCES)
def test_every_form_of_reference_is_read(text: str) -> None:
    assert parse_reference(text) == REFERENCES[text]


@pytest.mark.parametrize("text", NO_REFERENCES)
def test_anything_else_is_no_model(text: str) -> None:
    with pytest.raises(ModelNotFound):
        parse_reference(text)


@pytest.mark.parametrize(("text", "expected"), [("a", True), ("a" * 63, True), ("a" * 64, False)])
def test_a_name_has_at_most_63_characters(text: str, expected: bool) -> None:
    assert is_name(text) is expected
