"""docker-compose.yml, without docker: it is one by the schema, and what it tells servers makes a server for workers."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from coatcheck import RedisArtifactStore, StoreAccessError
from coatcheck.backends.redis.permissions import command
from coatcheck.doctor import examine
from coatcheck.testing import Server

from .conftest import binary_of

FILE = Path(__file__).parents[1] / "docker-compose.yml"
ENVIRONMENT = {"COATCHECK_PASSWORD": "hook", "COATCHECK_ADMIN_PASSWORD": "cloakroom"}


@pytest.fixture(scope="module")
def compose() -> dict:
    """As it is read where only the passwords are set."""

    def value(found: re.Match[str]) -> str:
        name, _, default = found[1].partition(":-")
        return ENVIRONMENT.get(name.partition(":?")[0], default)

    return YAML(typ="safe").load(re.sub(r"\$\{(.*?)\}", value, FILE.read_text()))


def test_it_is_a_compose_file() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_services_depend_on_and_use_is_there(compose) -> None:
    services = compose["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            assert set(services[other].get("profiles", [])) <= set(service.get("profiles", [])), name
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"], name
        if "worker" in name:
            hosts = re.findall(r"[@,]([\w-]+):\d+", service["environment"]["COATCHECK_URL"])
            assert hosts
            assert set(hosts) <= services.keys()
            sources = [volume.split(":")[0] for volume in service["volumes"]]
            assert all((FILE.parent / source).exists() for source in sources)
            assert "." not in sources  # with it .venv


def test_no_password_is_in_it_and_no_port_open_to_others(compose) -> None:
    assert not re.search(r">(?!\$\{)\w", FILE.read_text().partition("configs:\n  # ")[2])
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:6379:6379"]


def test_workers_may_do_what_acl_prints(compose) -> None:
    *_, line = compose["configs"]["users"]["content"].splitlines()
    printed = command("worker", "coatcheck", "coatcheck", ("replica", "cluster", "eviction"))
    assert line.split()[1:] == shlex.split(printed.replace("PASSWORD", "hook"))[2:]


def test_the_server_with_its_options_serves_workers_and_nobody_else(compose) -> None:
    program, *options = shlex.split(compose["services"]["valkey"]["command"])
    assert program == "valkey-server"
    at = options.index("--aclfile")  # users are made below, one by one
    server = Server(binary_of("valkey"), *options[:at], *options[at + 2 :], tcp=True)
    try:
        for line in reversed(compose["configs"]["users"]["content"].splitlines()):  # the default user goes last
            server.ask("ACL", "SETUSER", *line.split()[1:])
        with RedisArtifactStore(f"redis://coatcheck:hook@{server.address}/0") as store:
            stored = store.store(b"content", run_id="compose", ttl=60)
            assert store.load(stored, required=True).content == b"content"
            assert store.delete_by_run("compose") == 1
        with RedisArtifactStore(f"redis://{server.address}/0") as store, pytest.raises(StoreAccessError):
            store.store(b"content")
        for user, password, notes in (
            ("coatcheck", "hook", {"untold", "replication", "leftovers"}),
            ("admin", "cloakroom", {"replication", "too-many-permissions"}),
        ):
            with RedisArtifactStore(f"redis://{user}:{password}@{server.address}/0") as store:
                found = [finding for finding in examine(store).findings if finding.level != "good"]
            found = [finding for finding in found if finding.name not in ("latency", "slowlog")]  # a busy machine's
            assert {(finding.level, finding.name) for finding in found} == {("note", name) for name in notes}
    finally:
        server.stop()
