"""Fields that many requests have, checked; violations are collected and raised together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from weft.adapters.records import Call
from weft.server.errors import FieldViolation, RequestInvalid

from .auth import CALLER

MAX_REQUEST_ID = 64
MAX_LABELS = 32
MAX_LABEL_KEY_BYTES = 63
MAX_LABEL_VALUE_BYTES = 255
MAX_DISPLAY_NAME_BYTES = 255
MAX_REASON_BYTES = 255
EVENT_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")
DEFAULT_PAGE = 100
MAX_PAGE = 1000


@dataclass(slots=True)
class Findings:
    """Collects violations, to be raised together."""

    found: list[FieldViolation] = field(default_factory=list)

    def check(self, holds: bool, name: str, value: object, limit: str) -> None:
        if not holds:
            self.found.append(FieldViolation(name, f"{value!r} is not {limit}"))

    def done(self) -> None:
        if self.found:
            raise RequestInvalid(tuple(self.found))


def read_page_size(value: int) -> int:
    """Entries of a page: 0 means the default; raise RequestInvalid above the largest."""
    findings = Findings()
    findings.check(value <= MAX_PAGE, "page_size", value, f"at most {MAX_PAGE}")
    findings.done()
    return value or DEFAULT_PAGE


def read_event_id(name: str, text: str) -> str:
    """Check the id of an event, or nothing; raise RequestInvalid."""
    findings = Findings()
    findings.check(not text or EVENT_ID.fullmatch(text) is not None, name, text, "an event's id")
    findings.done()
    return text


def read_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Check labels of an adapter, a version or a data set; raise RequestInvalid."""
    findings = Findings()
    check_labels("labels", labels, findings)
    findings.done()
    return dict(labels)


def check_labels(field: str, labels: Mapping[str, str], findings: Findings) -> None:
    findings.check(len(labels) <= MAX_LABELS, field, len(labels), f"at most {MAX_LABELS}")
    for key, value in labels.items():
        findings.check(
            1 <= len(key.encode()) <= MAX_LABEL_KEY_BYTES,
            field,
            key,
            f"a key of 1 to {MAX_LABEL_KEY_BYTES} bytes",
        )
        findings.check(
            len(value.encode()) <= MAX_LABEL_VALUE_BYTES,
            f"{field}.{key}",
            value,
            f"at most {MAX_LABEL_VALUE_BYTES} bytes",
        )


def check_display_name(field: str, name: str, findings: Findings) -> None:
    size = len(name.encode())
    findings.check(
        size <= MAX_DISPLAY_NAME_BYTES, field, name, f"at most {MAX_DISPLAY_NAME_BYTES} bytes"
    )


def read_name(pattern: str, name: str) -> list[str]:
    """Read the parts of a resource name such as `adapters/{}/versions/{}`.

    Raises:
        RequestInvalid: The name has another form.
    """
    findings = Findings()
    found = re.fullmatch(pattern.replace("{}", "([^/]+)"), name)
    findings.check(found is not None, "name", name, pattern)
    findings.done()
    assert found is not None
    return list(found.groups())


def read_version_number(text: str, *, name: str = "name") -> int:
    """Read a version's number; raise RequestInvalid."""
    findings = Findings()
    findings.check(text.isdecimal() and len(text) < 10, name, text, "a version's number")
    findings.done()
    return int(text)


def call_of(request_id: str, *, reason: str = "") -> Call:
    """Say who makes a change, why, and under which id; raise RequestInvalid."""
    findings = Findings()
    findings.check(
        len(request_id) <= MAX_REQUEST_ID,
        "request_id",
        request_id,
        f"at most {MAX_REQUEST_ID} characters",
    )
    findings.check(
        len(reason.encode()) <= MAX_REASON_BYTES,
        "reason",
        reason,
        f"at most {MAX_REASON_BYTES} bytes",
    )
    findings.done()
    caller = CALLER.get()
    return Call(caller.tenant, caller.label, request_id or None, reason)
