"""Names of tenants, adapters and aliases, and the references that requests carry."""

import re
from dataclasses import dataclass

from .digest import is_digest
from .errors import ModelNotFound

LATEST = "latest"
SHARED = "shared"
RESERVED = frozenset({"sha256", SHARED})

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class DigestReference:
    """`sha256:…`: a version of the caller's, or a shared one, that has this content."""

    digest: str


@dataclass(frozen=True, slots=True)
class VersionReference:
    """`name@7`, `shared/name@7`: one version."""

    shared: bool
    adapter: str
    version: int


@dataclass(frozen=True, slots=True)
class AliasReference:
    """`name`, `name:alias`, `shared/name:alias`: what the alias points to now."""

    shared: bool
    adapter: str
    alias: str


Reference = DigestReference | VersionReference | AliasReference


def is_name(text: str) -> bool:
    """Say whether `text` can be the name of a tenant, an adapter or an alias."""
    return _NAME.fullmatch(text) is not None


def parse_reference(text: str) -> Reference:
    """Read a reference to an adapter; the base's own name is not one.

    Raises:
        ModelNotFound: It has none of the forms.
    """
    if is_digest(text):
        return DigestReference(text)
    shared = text.startswith(f"{SHARED}/")
    rest = text.removeprefix(f"{SHARED}/")
    name, separator, selector = _split(rest)
    if is_name(name) and name not in RESERVED:
        if separator == "@" and _VERSION.fullmatch(selector):
            return VersionReference(shared, name, int(selector))
        if separator == ":" and is_name(selector):
            return AliasReference(shared, name, selector)
        if not separator:
            return AliasReference(shared, name, LATEST)
    raise ModelNotFound(
        f"{text[:80]!r} is no reference; expected adapter, adapter:alias, adapter@version "
        "or sha256:…"
    )


def _split(text: str) -> tuple[str, str, str]:
    for separator in "@:":
        if separator in text:
            return text.partition(separator)
    return text, "", ""
