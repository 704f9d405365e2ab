"""`weft adapter`: check, publish, list, show, fetch and remove adapters."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from weft.client.names import alias_move, version_name
from weft.protos.v1.types_pb2 import Version, VersionState

from . import places
from .alias import alias
from .session import REASON, REFERENCE, Session, SessionGroup, label_option
from .terminal import columns, document_of, documents_of, pairs, short, size, when, word

T = TypeVar("T", str, tuple[str, ...])

FOLDER = click.argument(
    "folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path)
)
NAME = click.argument("name")
ASSERT_BASE = click.option(
    "--assert-base", is_flag=True, help="Vouch that it was trained on this base."
)


def checked_by(read: Callable[[str], object]) -> Callable[[click.Context, click.Parameter, T], T]:
    """Refuse an argument that `read` refuses, before anything is sent."""

    def check(context: click.Context, parameter: click.Parameter, given: T) -> T:
        try:
            for text in (given,) if isinstance(given, str) else given:
                read(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from error
        return given

    return check


VERSION = click.argument("reference", metavar="NAME@VERSION", callback=checked_by(version_name))


@click.group(cls=SessionGroup)
def adapter() -> None:
    """Adapters: what they are, and what they are called."""


for command in (alias, places.warm, places.pin, places.unpin, places.residency):
    adapter.add_command(command)


@adapter.command()
@FOLDER
@click.option("--base", required=True, metavar="MODEL", help="Directory or hub id of the base.")
@ASSERT_BASE
@click.pass_obj
def check(session: Session, folder: Path, base: str, assert_base: bool) -> None:
    """Judge an adapter as a server with this base would, without one."""
    from .offline import check_adapter_folder

    checked = check_adapter_folder(folder, base, assert_base=assert_base)
    document = {
        "digest": checked.digest,
        "modules": len(checked.modules),
        "max_rank": max(module.rank for module in checked.modules),
        "warnings": [str(warning) for warning in checked.warnings],
    }
    lines = [f"admitted  {checked.digest}", *(f"warning   {w}" for w in checked.warnings)]
    session.terminal.show(document, lines)


@adapter.command()
@NAME
@FOLDER
@click.option(
    "--alias",
    "aliases",
    multiple=True,
    metavar="X[=GENERATION]",
    callback=checked_by(alias_move),
    help="Move this alias to it; repeatable.",
)
@click.option("--no-latest", is_flag=True, help="Leave the alias latest where it is.")
@label_option
@click.option("--base", default="", metavar="MODEL", help="Served name or digest of the base.")
@ASSERT_BASE
@click.option("--allow-no-effect", is_flag=True, help="Admit an adapter that changes nothing.")
@click.option("--dry-run", is_flag=True, help="Every step but the last.")
@click.pass_obj
def publish(
    session: Session,
    name: str,
    folder: Path,
    aliases: tuple[str, ...],
    no_latest: bool,
    labels: dict[str, str],
    base: str,
    assert_base: bool,
    allow_no_effect: bool,
    dry_run: bool,
) -> None:
    """Upload what the server lacks of an adapter in PEFT's layout, and publish it as NAME."""
    with session.client() as weft, session.terminal.transfers() as on_progress:
        version = weft.publish(
            name,
            folder,
            base=base,
            aliases=aliases,
            latest=not no_latest,
            labels=labels,
            assert_base=assert_base,
            allow_no_effect=allow_no_effect,
            validate_only=dry_run,
            on_progress=on_progress,
        )
    done = f"{name} would be admitted" if dry_run else f"{name}@{version.version}"
    warnings = (f"warning  {w.code} {w.path}: {w.found}" for w in version.warnings)
    session.terminal.show(document_of(version), [f"{done}  {version.digest}", *warnings])


@adapter.command("list")
@click.option("--versions", is_flag=True, help="A line per version.")
@click.option("--labels", is_flag=True, help="Labels too.")
@click.pass_obj
def list_adapters(session: Session, versions: bool, labels: bool) -> None:
    """List adapters and where their aliases point."""
    with session.client() as weft:
        adapters = weft.adapters()
        if versions:
            each = [version for one in adapters for version in weft.versions(one.adapter)]
            rows = [[*version_row(one), *([pairs(one.labels)] if labels else [])] for one in each]
            header = ["version", "state", "rank", "size", "digest", "aliases", "created"]
            document = documents_of(each)
        else:
            rows = [
                [
                    one.adapter,
                    one.num_versions,
                    ",".join(f"{alias.alias}→{alias.version}" for alias in one.aliases),
                    *([pairs(one.labels)] if labels else []),
                ]
                for one in adapters
            ]
            header = ["adapter", "versions", "aliases"]
            document = documents_of(adapters)
    header += ["labels"] if labels else []
    session.terminal.show(document, columns(header, rows))


def version_row(version: Version) -> list[object]:
    return [
        f"{version.adapter}@{version.version}",
        word(VersionState.Name(version.state), "VERSION_STATE_"),
        version.max_rank,
        size(version.weights_bytes),
        short(version.digest),
        ",".join(version.aliases),
        when(version.created_ms),
    ]


@adapter.command()
@REFERENCE
@click.pass_obj
def show(session: Session, reference: str) -> None:
    """Show a version: ranks, scaling, size and where it comes from."""
    with session.client() as weft:
        version = weft.version(reference)
    session.terminal.show(document_of(version), describe(version))


def describe(version: Version) -> list[str]:
    facts = {
        "version": f"{version.adapter}@{version.version}",
        "state": word(VersionState.Name(version.state), "VERSION_STATE_"),
        "digest": version.digest,
        "base": f"{version.base} {version.base_digest}",
        "aliases": ", ".join(version.aliases),
        "labels": pairs(version.labels),
        "size": f"{size(version.weights_bytes)}, {size(version.image_bytes)} in the arena",
        "published": f"{when(version.created_ms)} by {version.provenance.publisher}",
        "job": version.provenance.job,
        "parent": version.provenance.parent,
        "data sets": ", ".join(version.provenance.datasets),
        "warnings": "; ".join(f"{w.code} {w.path}" for w in version.warnings),
    }
    modules = ((m.module, m.rank, f"{m.scaling:g}") for m in version.modules)
    return [
        *(f"{name:10} {value}" for name, value in facts.items() if value),
        *(columns(("module", "rank", "scaling"), modules) if version.modules else ()),
    ]


@adapter.command()
@REFERENCE
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.pass_obj
def pull(session: Session, reference: str, folder: Path, force: bool) -> None:
    """Fetch a version in PEFT's layout, byte for byte as it came, and check its hashes."""
    with session.client() as weft, session.terminal.transfers() as on_progress:
        version = weft.pull(reference, folder, force=force, on_progress=on_progress)
    session.terminal.show({"model": version, "folder": str(folder)}, [f"{version} → {folder}"])


@adapter.command()
@VERSION
@REASON
@click.pass_obj
def retire(session: Session, reference: str, reason: str) -> None:
    """Hide a version from new requests; running ones finish on it."""
    with session.client() as weft:
        version = weft.retire(reference, reason=reason)
    session.terminal.show(document_of(version), [f"{reference} retired"])


@adapter.command()
@VERSION
@REASON
@click.pass_obj
def restore(session: Session, reference: str, reason: str) -> None:
    """Undo a retirement."""
    with session.client() as weft:
        version = weft.restore(reference, reason=reason)
    session.terminal.show(document_of(version), [f"{reference} restored"])


@adapter.command()
@VERSION
@REASON
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(session: Session, reference: str, reason: str, yes: bool) -> None:
    """Delete a retired version for good."""
    if not yes:
        click.confirm(f"Delete {reference} for good?", abort=True, err=True)
    with session.client() as weft:
        weft.delete(reference, reason=reason)
    session.terminal.show({"deleted": reference}, [f"{reference} deleted"])
