"""The README's commands for keys and passwords, run as they stand there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from weft.server.cli import API_KEY
from weft.server.commands.serve import serve
from weft.server.rpc.auth import ROLES, KeyFile

from .files import DEPLOY, TEXTS, blocks, environment_file

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on PATH")


def run(script: str, folder: Path) -> str:
    (folder / "deploy").mkdir(exist_ok=True)
    ended = subprocess.run(
        ["bash", "-euc", script], cwd=folder, capture_output=True, text=True, timeout=30, check=True
    )
    return ended.stdout.strip()


@needs_openssl
async def test_the_key_that_is_printed_opens_the_server(tmp_path: Path) -> None:
    making = blocks("sh", heading="Keys")[0]
    first, second = run(making, tmp_path), run(making, tmp_path)
    door = KeyFile(tmp_path / "deploy/secrets/api-keys")
    for key in (first, second):
        caller = await door.authenticate(f"Bearer {key}", peer="ipv4:127.0.0.1")
        assert (caller.tenant, caller.label) == ("acme", "alice")
        assert caller.roles == {"infer", "publish", "train"}


@needs_openssl
def test_the_key_file_is_readable_in_a_folder_that_is_not(tmp_path: Path) -> None:
    run(f"umask 077\n{blocks('sh', heading='Keys')[0]}", tmp_path)
    assert (tmp_path / "deploy/secrets").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "deploy/secrets/api-keys").stat().st_mode & 0o777 == 0o644


@needs_openssl
def test_the_settings_are_private_and_all_that_compose_asks_for(tmp_path: Path) -> None:
    run(blocks("sh", heading="Compose")[0], tmp_path)
    made = tmp_path / "deploy/.env"
    settings = environment_file(made.read_text())
    asked = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXTS["compose.yaml"]))
    assert made.stat().st_mode & 0o777 == 0o600
    assert asked - {"TORCH_INDEX"} == set(settings)
    assert settings["SERVER_PASSWORD"] != settings["WORKER_PASSWORD"]
    assert re.fullmatch("[0-9a-f]{64}", settings["SERVER_PASSWORD"])  # as part of a URL


def test_the_roles_and_the_variable_of_a_client_are_those_of_weft() -> None:
    keys = TEXTS["README.md"].partition("## Keys")[2].partition("## TLS")[0]
    [roles] = re.findall(r"The roles are (.*), which includes", keys)
    assert set(re.findall(r"`(\w+)`", roles)) == ROLES
    assert f"`{API_KEY}`" in keys
    assert "`SHA256 TENANT ROLE,ROLE [LABEL]`" in keys


def test_the_proxy_waits_as_long_as_the_longest_call() -> None:
    [proxy] = blocks("nginx")
    [longest] = [p.default for p in serve.params if p.name == "max_request_seconds"]
    timeouts = re.findall(r"grpc_\w+_timeout (\d+)s;", proxy)
    assert {float(seconds) for seconds in timeouts} == {longest}
    assert len(timeouts) == 2


def test_every_file_it_says_to_use_is_there() -> None:
    table = TEXTS["README.md"].partition("\n## ")[0]
    named = set(re.findall(r"`(weft\.service|compose\.yaml|Dockerfile)`", table))
    assert {path.name for path in DEPLOY.iterdir()} >= named
    assert len(named) == 3
