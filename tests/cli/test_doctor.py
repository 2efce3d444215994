"""`coatcheck doctor`: what it prints, and its exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from coatcheck.cli.app import app
from coatcheck.testing import Server, eventually

from ..conftest import binary_of


@pytest.fixture(scope="module")
def servers(leaks):
    """A server as it comes, and one as `docker-compose.yml` starts it."""
    with leaks.lasting():
        plain = Server(binary_of("valkey"), tcp=True)
        composed = Server(
            binary_of("valkey"),
            *("--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory", "1gb"),
            *("--maxmemory-policy", "noeviction"),
            tcp=True,
        )
    yield plain, composed
    plain.stop()
    composed.stop()


def doctor(*arguments: str):
    return CliRunner().invoke(app, ["doctor", *arguments], prog_name="coatcheck")


def test_what_there_is_to_do_is_told_with_what_to_type(servers) -> None:
    result = doctor(servers[0].tcp_url)
    assert result.exit_code == 1
    assert "critical  persistence (" in result.stdout
    assert f"-> valkey-cli -h 127.0.0.1 -p {servers[0].port} CONFIG SET appendonly yes" in result.stdout
    assert "good " not in result.stdout
    assert len(result.stderr.splitlines()) == 1
    assert "error: there is something to do" in result.stderr


def test_nothing_to_do_is_success(servers) -> None:
    eventually(lambda: doctor(servers[1].tcp_url).exit_code == 0)
    result = doctor(servers[1].tcp_url, "--all")
    assert "good      persistence" in result.stdout
    assert "note      password" in result.stdout


def test_programs_read_json(servers) -> None:
    for server, ok in zip(servers, (False, True), strict=True):
        result = doctor(server.tcp_url, "--json", "--quick")
        told = json.loads(result.stdout)
        assert told["ok"] is ok is (result.exit_code == 0)
        assert {"level", "name", "text", "cure", "server"} == told["findings"][0].keys()


def test_no_server_is_another_exit_code(store, url) -> None:
    assert doctor("redis://127.0.0.1:1").exit_code == 3
    result = doctor(url)
    assert result.exit_code == 2
    assert "coatcheck check" in result.stderr
