"""What a person types, as the wire says it."""

from weft.protos.v1.types_pb2 import AliasMove


def adapter_name(adapter: str) -> str:
    return f"adapters/{adapter}"


def alias_name(adapter: str, alias: str) -> str:
    return f"adapters/{adapter}/aliases/{alias}"


def version_name(reference: str) -> str:
    """Name the version of `support@7`; raise ValueError for a reference that can move."""
    adapter, at, version = reference.partition("@")
    if not at:
        raise ValueError(f"{reference!r} names no version; write it as adapter@version")
    return f"adapters/{adapter}/versions/{version}"


def alias_move(text: str) -> AliasMove:
    """Read `prod`, or `prod=3` to move it only at generation 3 (0: only if it is new)."""
    alias, equals, generation = text.partition("=")
    if not equals:
        return AliasMove(alias=alias)
    if not generation.isdecimal():
        raise ValueError(f"generation {generation!r} of alias {alias!r} is not a number")
    return AliasMove(alias=alias, expected_generation=int(generation))


def resource_name(collection: str, name: str) -> str:
    """Complete an id to `jobs/…` or `datasets/…`; a whole name stays as it is."""
    return name if name.startswith(f"{collection}/") else f"{collection}/{name}"
