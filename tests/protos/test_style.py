"""The contract keeps the STANDARD rules of buf, and says everything that a reader needs."""

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)

Files = tuple[FileDescriptorProto, ...]

UNITS = {
    "bytes": ("_bytes",),
    "milliseconds": ("_ms",),
    "seconds": ("_s", "_seconds", "_seconds_per_day"),
}
TEXT_AND_BLOB_TYPES = (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES)

MUTATING = re.compile(
    "Create|Publish|Update|Delete|Retire|Restore|Set|Rollback|Pin|Unpin|Start|Pause|Resume|Cancel"
    "|Commit|Revoke"
)

# Field numbers in descriptor.proto, of which the path of a source location is made.
MESSAGES, ENUMS, SERVICES, FIELDS, NESTED, ONEOFS, VALUES, METHODS = 4, 5, 6, 2, 3, 8, 2, 2


def camel_to_snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def methods(files: Files) -> Iterator[tuple[str, MethodDescriptorProto]]:
    for file in files:
        for service in file.service:
            for method in service.method:
                yield f"{service.name}.{method.name}", method


def enums(files: Files) -> Iterator[EnumDescriptorProto]:
    for file in files:
        yield from file.enum_type


def fields(files: Files) -> Iterator[tuple[str, FieldDescriptorProto, str]]:
    """Every field of a written message: its full name, itself and its comment."""
    for file in files:
        said = comments(file)
        for i, message in enumerate(file.message_type):
            for j, field in enumerate(message.field):
                path = (MESSAGES, i, FIELDS, j)
                yield f"{message.name}.{field.name}", field, said.get(path, "")


def comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): (location.leading_comments + location.trailing_comments).strip()
        for location in file.source_code_info.location
    }


def named_elements(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """The source path and the name of everything that a comment must explain."""
    for i, message in enumerate(file.message_type):
        assert not [nested for nested in message.nested_type if not nested.options.map_entry]
        assert not message.enum_type, f"{message.name} nests an enum"
        yield from message_elements((MESSAGES, i), message)
    for i, enum in enumerate(file.enum_type):
        yield (ENUMS, i), enum.name
        for j, value in enumerate(enum.value):
            yield (ENUMS, i, VALUES, j), value.name
    for i, service in enumerate(file.service):
        yield (SERVICES, i), service.name
        for j, method in enumerate(service.method):
            yield (SERVICES, i, METHODS, j), f"{service.name}.{method.name}"


def message_elements(
    path: tuple[int, ...], message: DescriptorProto
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, message.name
    for j, field in enumerate(message.field):
        yield (*path, FIELDS, j), f"{message.name}.{field.name}"
    for j, oneof in enumerate(message.oneof_decl):
        if not oneof.name.startswith("_"):
            yield (*path, ONEOFS, j), f"{message.name}.{oneof.name}"


def test_every_element_has_a_comment(descriptors: Files) -> None:
    assert [
        f"{file.name}: {name}"
        for file in descriptors
        for said in [comments(file)]
        for path, name in named_elements(file)
        if not said.get(path)
    ] == []


def test_every_comment_is_plain_text_in_short_lines(descriptors: Files) -> None:
    for file in descriptors:
        for said in comments(file).values():
            assert not re.search(r"TODO|FIXME|XXX", said)
            assert all(len(line) <= 100 for line in said.splitlines())


def test_all_files_are_one_package_in_proto3(descriptors: Files) -> None:
    assert {file.package for file in descriptors} == {"weft.v1"}
    assert {file.syntax for file in descriptors} == {"proto3"}


def test_services_end_in_service(descriptors: Files) -> None:
    names = [service.name for file in descriptors for service in file.service]
    assert sorted(names) == ["AdapterService", "AdminService", "InferenceService", "JobService"]


def test_request_and_response_are_named_after_the_rpc(descriptors: Files) -> None:
    for name, method in methods(descriptors):
        assert method.input_type == f".weft.v1.{method.name}Request", name
        assert method.output_type == f".weft.v1.{method.name}Response", name


def test_every_request_and_response_belongs_to_one_rpc(descriptors: Files) -> None:
    used = Counter(
        type_name
        for _, method in methods(descriptors)
        for type_name in (method.input_type, method.output_type)
    )
    assert [name for name, times in used.items() if times > 1] == []
    declared = {
        f".weft.v1.{message.name}"
        for file in descriptors
        for message in file.message_type
        if message.name.endswith(("Request", "Response"))
    }
    assert declared == set(used)


def test_enum_values_are_prefixed_and_zero_is_unspecified(descriptors: Files) -> None:
    for enum in enums(descriptors):
        prefix = camel_to_snake(enum.name).upper()
        assert (enum.value[0].name, enum.value[0].number) == (f"{prefix}_UNSPECIFIED", 0)
        assert [v.name for v in enum.value if not v.name.startswith(f"{prefix}_")] == []
        assert [v.number for v in enum.value] == list(range(len(enum.value))), enum.name


@pytest.mark.parametrize(
    ("kind", "pattern"),
    [
        ("message", r"([A-Z][a-z0-9]+)+"),
        ("enum", r"([A-Z][a-z0-9]+)+"),
        ("field", r"[a-z][a-z0-9]*(_[a-z0-9]+)*"),
        ("value", r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*"),
        ("method", r"([A-Z][a-z0-9]+)+"),
    ],
)
def test_names_have_the_case_of_their_kind(descriptors: Files, kind: str, pattern: str) -> None:
    names = {
        "message": [message.name for file in descriptors for message in file.message_type],
        "enum": [enum.name for enum in enums(descriptors)],
        "field": [field.name for _, field, _ in fields(descriptors)],
        "value": [value.name for enum in enums(descriptors) for value in enum.value],
        "method": [method.name for _, method in methods(descriptors)],
    }[kind]
    assert names
    assert [name for name in names if not re.fullmatch(pattern, name)] == []


def test_repeated_fields_are_plural_or_masses(descriptors: Files) -> None:
    masses = {"eval", "first", "garbage", "residency", "stop", "train", "trained"}
    maps = {"rank_pattern", "alpha_pattern", "logit_bias"}
    assert [
        name
        for name, field, _ in fields(descriptors)
        if field.label == FieldDescriptorProto.LABEL_REPEATED
        and not field.name.endswith("s")
        and field.name not in masses | maps
    ] == []


def test_field_numbers_leave_no_gaps(descriptors: Files) -> None:
    """Until the first release, a gap is a slip; a removed field is then reserved instead."""
    for file in descriptors:
        for message in file.message_type:
            numbers = sorted(field.number for field in message.field)
            assert all(b == a + 1 for a, b in pairwise([0, *numbers])), message.name


def test_a_field_with_a_unit_has_it_in_its_name(descriptors: Files) -> None:
    wrong = [
        f"{name}: {comment}"
        for name, field, comment in fields(descriptors)
        for unit, suffixes in UNITS.items()
        if re.search(rf"\bin {unit}\b", comment) and not field.name.endswith(suffixes)
    ]
    assert wrong == []


def test_a_name_with_a_unit_is_a_number(descriptors: Files) -> None:
    suffixes = tuple(suffix for group in UNITS.values() for suffix in group)
    assert [
        name
        for name, field, _ in fields(descriptors)
        if field.name.endswith(suffixes) and field.type in TEXT_AND_BLOB_TYPES
    ] == []


def test_times_say_that_they_are_unix_milliseconds(descriptors: Files) -> None:
    times = [
        (name, comment)
        for name, field, comment in fields(descriptors)
        if field.type == FieldDescriptorProto.TYPE_INT64
    ]
    assert len(times) > 10
    assert [name for name, said in times if "Unix time in milliseconds" not in said] == []


def test_pages_are_asked_for_in_one_way(descriptors: Files) -> None:
    messages = {message.name: message for file in descriptors for message in file.message_type}
    paged = [name for name in messages if name.startswith("List") and name.endswith("Request")]
    assert paged
    for name in paged:
        asked = {field.name for field in messages[name].field}
        answered = {field.name for field in messages[name.replace("Request", "Response")].field}
        assert {"page_size", "page_token"} <= asked, name
        assert "next_page_token" in answered, name


def test_mutating_calls_carry_a_request_id(descriptors: Files) -> None:
    messages = {message.name: message for file in descriptors for message in file.message_type}
    without = [
        method.name
        for _, method in methods(descriptors)
        if MUTATING.match(method.name)
        and "request_id" not in {field.name for field in messages[f"{method.name}Request"].field}
    ]
    assert without == ["CreateApiKey"], "its answer, a secret, is not kept to be repeated"
