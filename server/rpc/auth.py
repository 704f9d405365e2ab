"""Who calls: tenant and roles come from the API key, and from nothing else.

A key file has a line per key: the sha256 of the key in hexadecimal, the tenant, the roles joined by
commas, and optionally a label for audits. Blank lines and lines that begin with # are left out.
"""

import asyncio
import hashlib
from collections import OrderedDict
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from weft.server.config import NAME
from weft.server.errors import CredentialsInvalid, CredentialsMissing, RoleRequired, StartFailed

ROLES = frozenset({"infer", "publish", "train", "admin"})
SCHEME = "Bearer "
FIRST_DELAY_S = 0.05
MAX_DELAY_S = 2.0
REMEMBERED_PEERS = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose names a call sees, and what it may do; `label` names it in audits."""

    tenant: str
    roles: frozenset[str]
    label: str

    def require(self, role: str) -> None:
        """Raise RoleRequired unless the caller has the role; an administrator has them all."""
        if not self.roles & {role, "admin"}:
            raise RoleRequired(f"this call needs the role {role}", role=role)


ANYBODY = Caller(tenant="default", roles=ROLES, label="anybody")
CALLER: ContextVar[Caller] = ContextVar("caller")


class OpenDoor:
    """No keys are configured: every caller is tenant `default` with all roles."""

    async def authenticate(self, authorization: str | None, *, peer: str) -> Caller:
        return ANYBODY


class KeyFile:
    """Knows the keys of a file; answers failed attempts of one peer ever more slowly."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise StartFailed naming the line that cannot be read."""
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise StartFailed(f"--api-keys {path}: {error.strerror}") from error
        self._callers = {
            digest: caller
            for number, line in enumerate(lines, start=1)
            if line.strip() and not line.startswith("#")
            for digest, caller in [_read_line(line, place=f"{path}:{number}")]
        }
        if not self._callers:
            raise StartFailed(f"--api-keys {path} has no key")
        self._failures: OrderedDict[str, int] = OrderedDict()

    async def authenticate(self, authorization: str | None, *, peer: str) -> Caller:
        """Find the caller; raise CredentialsMissing or, after a delay, CredentialsInvalid."""
        if authorization is None:
            raise CredentialsMissing("this server needs an API key: authorization: Bearer KEY")
        key = authorization.removeprefix(SCHEME)
        caller = self._callers.get(hashlib.sha256(key.encode()).hexdigest())
        if caller is None or not authorization.startswith(SCHEME):
            await asyncio.sleep(self._next_delay_s(peer))
            raise CredentialsInvalid("this API key is not known")
        self._failures.pop(peer, None)
        return caller

    def _next_delay_s(self, peer: str) -> float:
        failures = self._failures.pop(peer, 0)
        self._failures[peer] = failures + 1
        if len(self._failures) > REMEMBERED_PEERS:
            self._failures.popitem(last=False)
        return min(FIRST_DELAY_S * 2.0 ** min(failures, 16), MAX_DELAY_S)


Door = OpenDoor | KeyFile


def _read_line(line: str, *, place: str) -> tuple[str, Caller]:
    fields = line.split(maxsplit=3)
    if len(fields) < 3:
        raise StartFailed(f"{place} is not: SHA256 TENANT ROLE,ROLE [LABEL]")
    digest, tenant, roles = fields[0].lower(), fields[1], frozenset(fields[2].split(","))
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise StartFailed(f"{place}: {len(digest)} characters are not a sha256 in hexadecimal")
    if not NAME.fullmatch(tenant) or tenant == "shared":
        raise StartFailed(f"{place}: {tenant!r} is not a tenant's name")
    if unknown := sorted(roles - ROLES):
        raise StartFailed(f"{place}: {unknown[0]!r} is not one of {', '.join(sorted(ROLES))}")
    return digest, Caller(tenant, roles, fields[3] if len(fields) > 3 else digest[:12])
