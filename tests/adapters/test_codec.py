"""Records to JSON and back."""

from weft.adapters.codec import decode_alias, decode_version, encode_version, with_state
from weft.adapters.errors import Violation
from weft.adapters.records import Alias, VersionState

from .registry_cases import content


def stored() -> bytes:
    """A version as the script leaves it: with the time of its publication."""
    return b'{"created_ms":7,' + encode_version(content(labels={"a": "b"}))[1:].encode()


def test_a_version_comes_back_as_it_was() -> None:
    version = decode_version("acme", "support", 3, stored())
    assert (version.model, version.created_ms) == ("support@3", 7)
    assert version.state is VersionState.PUBLISHED
    assert version.content == content(labels={"a": "b"})


def test_warnings_come_back_as_violations() -> None:
    warned = stored().replace(
        b'"warnings":[]', b'"warnings":[{"code":"C","path":"p","found":"f","expected":"e"}]'
    )
    version = decode_version("acme", "support", 3, warned)
    assert version.content.warnings == (Violation("C", "p", "f", "e"),)


def test_a_state_changes_and_nothing_else_does() -> None:
    newer = stored()[:-1] + b',"added":[1.50,{}]}'
    changed = with_state(newer, VersionState.RETIRED)
    assert changed.encode() == newer.replace(b'"PUBLISHED"', b'"RETIRED"')


def test_a_deleted_alias_has_no_version() -> None:
    text = b'{"version":null,"generation":3,"previous":2,"added":true}'
    assert decode_alias("prod", text) == Alias("prod", None, 3, 2)
