from pathlib import Path

import pytest

from weft.adapters.config import BaseClaim
from weft.adapters.errors import Violation
from weft.adapters.evidence import Evidence, judge_base, judge_template
from weft.adapters.sites import BaseFacts

from .tiny_facts import tiny_facts

NOTHING = BaseClaim(None, None)
NAMED = BaseClaim("weft/tiny", None)
OTHER = BaseClaim("weft/other", None)


@pytest.fixture(scope="module")
def facts(tiny_llama: Path) -> BaseFacts:
    return tiny_facts(tiny_llama)


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        (NAMED, Evidence.NAME),
        (BaseClaim("weft/tiny", "abc"), Evidence.NAME),
        (BaseClaim("weft/tiny", "main"), Evidence.REVISION),
    ],
    ids=str,
)
@pytest.mark.parametrize("asserted", [False, True])
def test_a_name_among_the_sources_is_evidence(
    claim: BaseClaim, evidence: Evidence, asserted: bool, facts: BaseFacts
) -> None:
    assert judge_base(claim, {}, facts, asserted=asserted) is evidence


@pytest.mark.parametrize("claim", [NOTHING, NAMED, OTHER, None], ids=str)
def test_the_digest_settles_it(claim: BaseClaim | None, facts: BaseFacts) -> None:
    stamped = {"weft_base": facts.digest}
    assert judge_base(claim, stamped, facts, asserted=False) is Evidence.DIGEST


@pytest.mark.parametrize(
    ("claim", "metadata", "code", "path"),
    [
        (NOTHING, {}, "BASE_UNKNOWN", "base_model_name_or_path"),
        (None, {}, "BASE_UNKNOWN", "base_model_name_or_path"),
        (BaseClaim(None, "main"), {}, "BASE_UNKNOWN", "base_model_name_or_path"),
        (OTHER, {}, "BASE_MISMATCH", "base_model_name_or_path"),
        (NAMED, {"weft_base": "sha256:of-another"}, "BASE_MISMATCH", "weft_base"),
        (NOTHING, {"weft_base": ""}, "BASE_MISMATCH", "weft_base"),
    ],
    ids=str,
)
def test_missing_or_contradicting_evidence_is_refused_unless_asserted(
    claim: BaseClaim | None, metadata: dict[str, str], code: str, path: str, facts: BaseFacts
) -> None:
    refusal = judge_base(claim, metadata, facts, asserted=False)
    assert isinstance(refusal, Violation)
    assert (refusal.code, refusal.path) == (code, path)
    assert judge_base(claim, metadata, facts, asserted=True) is Evidence.ASSERTED


def test_another_chat_template_is_a_warning(facts: BaseFacts) -> None:
    assert not list(judge_template({}, facts))
    assert not list(judge_template({"weft_template": facts.template_digest}, facts))
    (warning,) = judge_template({"weft_template": "sha256:other"}, facts)
    assert (warning.code, warning.expected) == ("TEMPLATE_DIFFERS", facts.template_digest)
