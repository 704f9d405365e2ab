"""Forms of a completion: checked here, compiled and held to in the engine."""

from llguidance import LLMatcher

from weft.protos.v1.inference_pb2 import Constraint

from .fields import Findings

MAX_FORM_BYTES = 256 * 1024


def read_constraint(constraint: Constraint, findings: Findings) -> str:
    """Check a form and write it as a grammar of llguidance."""
    kind = constraint.WhichOneof("form")
    if kind is None:
        findings.check(False, "constraint", None, "regex, json_schema or grammar")
        return ""
    name, text = f"constraint.{kind}", str(getattr(constraint, kind))
    size = len(text.encode())
    if size > MAX_FORM_BYTES:
        findings.check(False, name, size, f"at most {MAX_FORM_BYTES} bytes")
        return ""
    grammar = _grammar_of(kind, text)
    error = LLMatcher.validate_grammar(grammar)
    findings.check(not error, name, text[:80], f"a form that llguidance reads: {error}")
    return grammar


def _grammar_of(kind: str, text: str) -> str:
    match kind:
        case "regex":
            return LLMatcher.grammar_from_regex(text)
        case "json_schema":
            return LLMatcher.grammar_from_json_schema(text)
        case _:
            return LLMatcher.grammar_from_lark(text)
