"""Keys: who is let in, and with what."""

import hashlib
import time
from pathlib import Path

import pytest

from weft.server.errors import CredentialsInvalid, CredentialsMissing, RoleRequired, StartFailed
from weft.server.rpc.auth import ANYBODY, FIRST_DELAY_S, Caller, KeyFile, OpenDoor

KEY = "weft_secret"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def key_file(folder: Path, text: str) -> KeyFile:
    path = folder / "keys"
    path.write_text(text)
    return KeyFile(path)


async def test_a_known_key_has_its_tenant_roles_and_label(tmp_path: Path) -> None:
    door = key_file(tmp_path, f"# ours\n\n{DIGEST} acme infer,train the batch pipeline\n")
    caller = await door.authenticate(f"Bearer {KEY}", peer="p")
    assert caller == Caller("acme", frozenset({"infer", "train"}), "the batch pipeline")


async def test_without_keys_everybody_is_the_default_tenant() -> None:
    assert await OpenDoor().authenticate(None, peer="p") == ANYBODY


async def test_a_call_without_a_key_is_turned_away(tmp_path: Path) -> None:
    with pytest.raises(CredentialsMissing):
        await key_file(tmp_path, f"{DIGEST} acme infer").authenticate(None, peer="p")


@pytest.mark.parametrize("authorization", ["Bearer wrong", KEY, f"Basic {KEY}", "Bearer "])
async def test_a_wrong_key_is_turned_away(tmp_path: Path, authorization: str) -> None:
    door = key_file(tmp_path, f"{DIGEST} acme infer")
    with pytest.raises(CredentialsInvalid) as caught:
        await door.authenticate(authorization, peer="p")
    assert KEY not in str(caught.value)


async def test_failures_of_a_peer_are_answered_ever_more_slowly(tmp_path: Path) -> None:
    door = key_file(tmp_path, f"{DIGEST} acme infer")
    begin = time.monotonic()
    for _ in range(3):
        with pytest.raises(CredentialsInvalid):
            await door.authenticate("Bearer x", peer="p")
    assert time.monotonic() - begin >= FIRST_DELAY_S * (1 + 2 + 4)


def test_a_role_that_is_missing_is_named() -> None:
    caller = Caller("acme", frozenset({"infer"}), "x")
    caller.require("infer")
    with pytest.raises(RoleRequired, match="publish"):
        caller.require("publish")
    Caller("acme", frozenset({"admin"}), "x").require("publish")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"{DIGEST} acme", "SHA256 TENANT ROLE"),
        ("abc acme infer", "3 characters"),
        (f"{DIGEST} Acme infer", "'Acme'"),
        (f"{DIGEST} shared infer", "'shared'"),
        (f"{DIGEST} acme infer,root", "'root'"),
        ("# nothing", "no key"),
    ],
)
def test_a_line_that_cannot_be_read_stops_the_start(tmp_path: Path, line: str, reason: str) -> None:
    with pytest.raises(StartFailed, match=reason):
        key_file(tmp_path, line)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="nowhere"):
        KeyFile(tmp_path / "nowhere")
