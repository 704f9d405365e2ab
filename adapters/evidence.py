"""What shows that an adapter was trained on the base that it is published for."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from .config import BaseClaim
from .errors import Violation
from .fields import shorten
from .sites import BaseFacts

BASE_KEY = "weft_base"
TEMPLATE_KEY = "weft_template"
CONFIG_PATH = "base_model_name_or_path"


class Evidence(StrEnum):
    """Kinds of evidence, the strongest first; a version records which one it was admitted on."""

    DIGEST = "digest"
    REVISION = "name and revision"
    NAME = "name"
    ASSERTED = "asserted"


def judge_base(
    claim: BaseClaim | None, metadata: Mapping[str, str], facts: BaseFacts, *, asserted: bool
) -> Evidence | Violation:
    """Weigh what the file's metadata and the config say of the base.

    A digest in the metadata settles it. Without one, a name must be among the base's sources; a
    source `name@revision` makes the revision count too. `asserted` replaces evidence that is
    missing or contradicts.
    """
    digest = metadata.get(BASE_KEY)
    name, revision = claim or BaseClaim(None, None)
    if digest == facts.digest:
        return Evidence.DIGEST
    if digest is None and name in facts.sources:
        return Evidence.REVISION if f"{name}@{revision}" in facts.sources else Evidence.NAME
    if asserted:
        return Evidence.ASSERTED
    if digest is not None:
        return Violation("BASE_MISMATCH", BASE_KEY, shorten(digest), facts.digest)
    code = "BASE_UNKNOWN" if name is None else "BASE_MISMATCH"
    return Violation(code, CONFIG_PATH, shorten(name), f"{facts.name}, or the base asserted")


def judge_template(metadata: Mapping[str, str], facts: BaseFacts) -> Iterator[Violation]:
    """Warn of an adapter that says that it was trained with another chat template."""
    trained = metadata.get(TEMPLATE_KEY)
    if trained is not None and trained != facts.template_digest:
        expected = facts.template_digest or "no template"
        yield Violation("TEMPLATE_DIFFERS", TEMPLATE_KEY, shorten(trained), expected)
