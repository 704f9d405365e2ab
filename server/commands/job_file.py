"""`job.yaml`: the fields of a job, with short names for enum values; unknown keys are refused."""

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import click
import yaml
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import ParseDict, ParseError

from weft.protos.v1.jobs_pb2 import JobSpec

Json = dict[str, object]


def read_job(path: Path | None, settings: Iterable[str]) -> JobSpec:
    """Read a job from a file, then set `KEY=VALUE` in it; a key may be a path like lora.rank.

    Raises:
        UsageError: Names the file or the key.
    """
    try:
        document = {} if path is None else yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise click.UsageError(f"{path} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise click.UsageError(f"{path} is a {type(document).__name__}, not a mapping")
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"--set {text!r} is not KEY=VALUE")
        put(document, key, yaml.safe_load(value))
    try:
        return ParseDict(with_long_names(document, cast(Descriptor, JobSpec.DESCRIPTOR)), JobSpec())
    except ParseError as error:
        raise click.UsageError(f"job: {error}") from error


def put(document: Json, key: str, value: object) -> None:
    """Set a value at a path, making mappings on the way."""
    *path, last = key.split(".")
    for name in path:
        below = document.setdefault(name, {})
        if not isinstance(below, dict):
            raise click.UsageError(f"--set {key}: {name} is not a mapping")
        document = below
    document[last] = value


def with_long_names(document: Json, kind: Descriptor) -> Json:
    """Complete enum values, so that `mode: NEVER` reads as PUBLISH_MODE_NEVER."""
    return {
        key: complete(value, kind.fields_by_name[key]) if key in kind.fields_by_name else value
        for key, value in document.items()
    }


def complete(value: object, field: FieldDescriptor) -> object:
    if isinstance(value, list):
        return [complete(one, field) for one in value]
    if isinstance(value, dict) and field.message_type is not None:
        return with_long_names(value, field.message_type)
    if isinstance(value, str) and field.enum_type is not None:
        prefix = field.enum_type.values[0].name.removesuffix("UNSPECIFIED")
        return value if value.startswith(prefix) else prefix + value.upper()
    return value
