"""The compose file: each service gets what it names, and only the server can be reached."""

import re
from urllib.parse import urlsplit

import pytest
import yaml

from weft.server.config import Address
from weft.server.rpc.app import GRACE_S
from weft.server.supervisor import Part

from .files import DEPLOY, ROOT, TEXTS, arguments_of, default_port, parse, services

COMPOSE = yaml.safe_load(TEXTS["compose.yaml"])
STORE = "/var/lib/weft/store"


def users_with_password() -> list[str]:
    return re.findall(r"^ *with_password (\S+) ", TEXTS["redis/start.sh"], re.MULTILINE)


def test_the_build_finds_its_files() -> None:
    build = COMPOSE["x-weft"]["build"]
    context = (DEPLOY / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).exists()
    assert [f"{name}=" for name in build["args"]] == arguments_of("ARG")
    assert build["args"] == {"TORCH_INDEX": "${TORCH_INDEX:-}"}


def test_server_and_worker_run_the_image_after_redis() -> None:
    for name in ("weft", "worker"):
        given = COMPOSE["services"][name]
        assert given["image"] == COMPOSE["x-weft"]["image"]
        assert given["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "healthcheck" in COMPOSE["services"]["redis"]


def test_the_server_serves_others_with_keys_only() -> None:
    given = parse(services()["weft"].command)
    assert Address.parse(str(given["listen"])) == Address("0.0.0.0", default_port("listen"))
    assert Address.parse(str(given["metrics"])) == Address("0.0.0.0", default_port("metrics"))
    assert "insecure_no_auth" not in given
    [secret] = services()["weft"].secrets
    assert given["api_keys"] == f"/run/secrets/{secret}"
    assert COMPOSE["secrets"][secret] == {"file": "./secrets/api-keys"}


def test_only_the_server_is_published_and_to_loopback_only() -> None:
    ports = [default_port("listen"), default_port("metrics")]
    assert services()["weft"].ports == [f"127.0.0.1:{port}:{port}" for port in ports]
    assert not services()["redis"].ports + services()["worker"].ports


@pytest.mark.parametrize(
    ("service", "user", "password"),
    [("weft", "weft-server", "SERVER_PASSWORD"), ("worker", "weft-worker", "WORKER_PASSWORD")],
)
def test_each_logs_in_as_a_redis_user_that_exists(service: str, user: str, password: str) -> None:
    given = f"${{{password}:?}}"
    address = services()[service].environment["WEFT_REDIS"]
    url = urlsplit(address.replace(given, "given"))
    assert (url.username, url.password) == (user, "given")
    assert (url.scheme, url.hostname, url.port, url.path) == ("redis", "redis", 6379, "/0")
    assert services()["redis"].environment[password] == given
    assert f'with_password {user} "${password}"' in TEXTS["redis/start.sh"]
    assert f"user {user} on " in TEXTS["redis/users.acl"]


def test_redis_starts_by_the_script_that_is_mounted_beside_its_users() -> None:
    shell, script = COMPOSE["services"]["redis"]["entrypoint"]
    source, target, mode = services()["redis"].volumes[0].split(":")
    assert (shell, mode) == ("sh", "ro")
    for name in (script.removeprefix(f"{target}/"), "users.acl"):
        assert (DEPLOY / source / name).exists()
    [check] = re.findall(r"--user (\S+)", COMPOSE["services"]["redis"]["healthcheck"]["test"][1])
    assert check in users_with_password()


def test_server_and_worker_serve_one_base_and_share_the_store() -> None:
    server, worker = services()["weft"], services()["worker"]
    assert server.command[:2] == ["serve", "/models/base"]
    assert worker.command[:2] == ["worker", "/models/base"]
    assert parse(server.command)["no_worker"] is True
    for service in (server, worker):
        assert "${MODEL_DIR:?}:/models/base:ro" in service.volumes
        assert f"store:{STORE}" in service.volumes
        assert service.environment["WEFT_STORE"] == f"file:{STORE}"
    assert server.environment["WEFT_SERVED_NAME"] == worker.environment["WEFT_SERVED_NAME"]


def test_every_volume_is_declared_and_used() -> None:
    mounts = [mount for service in services().values() for mount in service.volumes]
    named = {mount.partition(":")[0] for mount in mounts if mount[0].isalpha()}
    assert named == set(COMPOSE["volumes"])
    [data] = arguments_of("VOLUME")
    assert f"data:{data}" in services()["weft"].volumes


def test_nobody_is_killed_within_the_grace() -> None:
    part = Part("any", start=lambda: pytest.fail("never started"))
    assert part.stop_grace_s >= GRACE_S
    assert services()["weft"].stop_s > 2 * part.stop_grace_s  # front, then engine
    assert services()["worker"].stop_s > part.stop_grace_s
