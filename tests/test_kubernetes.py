"""The Kubernetes manifests of the guide, without Kubernetes: their names fit together, and their server serves workers.

`make integrations ONLY=kubernetes` compares them with the schemas of Kubernetes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from coatcheck import RedisArtifactStore, StoreAccessError
from coatcheck.testing import Server

from .conftest import binary_of

GUIDE = (Path(__file__).parents[1] / "docs" / "guides" / "deploy.md").read_text().partition("\n## Kubernetes\n")[2]
COMMANDS, MANIFESTS = (
    re.search(rf"^```{kind}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)[1] for kind in ("", "yaml")
)


@pytest.fixture(scope="module")
def kinds() -> dict:
    return {manifest["kind"]: manifest for manifest in YAML(typ="safe").load_all(MANIFESTS)}


def pods(kinds: dict) -> list[dict]:
    return [kinds[kind]["spec"]["template"]["spec"] for kind in ("StatefulSet", "Deployment")]


def test_names_fit_together(kinds) -> None:
    for kind in ("StatefulSet", "Deployment"):
        spec = kinds[kind]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    stateful, service = kinds["StatefulSet"], kinds["Service"]
    assert service["spec"]["selector"] == stateful["spec"]["selector"]["matchLabels"]
    assert service["metadata"]["name"] == stateful["spec"]["serviceName"]
    claims = {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    for pod in pods(kinds):
        volumes = {volume["name"] for volume in pod["volumes"]}
        [container] = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} - claims == volumes
    ports = re.findall(r"@(\w+):(\d+)", COMMANDS)
    assert ports == [(service["metadata"]["name"], str(service["spec"]["ports"][0]["port"]))]


def test_secrets_are_those_that_the_commands_make(kinds) -> None:
    made = dict(re.findall(r"create secret generic (\S+) --from-(?:file|literal)=([\w.]+)", COMMANDS))
    [server], [worker] = (pod["containers"] for pod in pods(kinds))
    [users] = (volume["secret"]["secretName"] for volume in pods(kinds)[0]["volumes"] if "secret" in volume)
    [url] = (variable["valueFrom"]["secretKeyRef"] for variable in worker["env"])
    assert made == {users: Path(server["args"][server["args"].index("--aclfile") + 1]).name, url["name"]: url["key"]}


def test_the_server_with_its_users_serves_workers_and_nobody_else(kinds, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hook\n")
    (tmp_path / "coatcheck").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coatcheck "$@"\n')
    (tmp_path / "coatcheck").chmod(0o755)
    write_users = COMMANDS.partition("kubectl")[0]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", write_users], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)

    [container] = pods(kinds)[0]["containers"]
    program, *options = container["args"]
    assert program == "valkey-server"
    users = tmp_path / "loaded.acl"
    users.touch()
    for name, value in (("--aclfile", users), ("--dir", tmp_path)):
        options[options.index(name) + 1] = str(value)
    server = Server(binary_of("valkey"), *options, tcp=True)
    try:
        (tmp_path / "users.acl").replace(users)  # only now: a server is known to have started by what anybody may ask
        assert server.ask("ACL", "LOAD") == "OK"
        with RedisArtifactStore(f"redis://coatcheck:hook@{server.address}/0") as store:
            stored = store.store(b"content", run_id="pod", ttl=60)
            assert store.load(stored, required=True).content == b"content"
            assert store.delete_by_run("pod") == 1
        for user in ("", "probe:any@"):
            with RedisArtifactStore(f"redis://{user}{server.address}/0") as store, pytest.raises(StoreAccessError):
                store.store(b"content")
    finally:
        server.stop()
