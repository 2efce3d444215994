"""`coatcheck acl`: what it prints can be typed, and nothing is asked."""

from __future__ import annotations

import shlex

import pytest

from coatcheck.backends.redis.permissions import COMMANDS, EXTRAS, command

from .running import Coatcheck

NOWHERE = "redis://127.0.0.1:1"


def test_a_worker_of_the_namespace_is_what_is_made(coatcheck: Coatcheck) -> None:
    shown = coatcheck("acl", url=NOWHERE).stdout
    assert shown == command("worker", "coatcheck", "coatcheck") + "\n"
    words = shlex.split(shown)
    assert words[:5] == ["ACL", "SETUSER", "coatcheck", "on", ">PASSWORD"]
    assert {"resetkeys", "~coatcheck:*", "resetchannels", "nocommands"} <= set(words)
    assert {word.removeprefix("+") for word in words if word.startswith("+")} == set(COMMANDS["worker"])


@pytest.mark.parametrize("role", COMMANDS)
def test_roles_names_namespaces_and_extras_are_taken(coatcheck: Coatcheck, role: str) -> None:
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    shown = coatcheck("--namespace", "jobs", "acl", "--role", role, "--user", "me", *extras, url=NOWHERE).stdout
    assert shown == command(role, "jobs", "me", list(EXTRAS)) + "\n"  # type: ignore[arg-type]
    assert "~jobs:*" in shown
    assert {f"+{word}" for extra in EXTRAS.values() for word in extra} <= set(shlex.split(shown))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--role", "owner"], "choose from reader, worker, operator"),
        (["--extra", "all"], "choose from replica"),
        (["--user", "a b"], "name of a user"),
        (["--user", ""], "name of a user"),
        (["--user", "a\nACL SETUSER b"], "name of a user"),
    ],
)
def test_what_cannot_be_permitted_is_refused(coatcheck: Coatcheck, arguments: list[str], reason: str) -> None:
    refused = coatcheck("acl", *arguments, url=NOWHERE)
    assert refused.code != 0
    assert reason in refused.stderr
    assert refused.stdout == ""


@pytest.mark.parametrize("namespace", ["*", "a b", "a~b", "a:content"])
def test_a_namespace_that_would_open_others_is_refused(coatcheck: Coatcheck, namespace: str) -> None:
    refused = coatcheck("--namespace", namespace, "acl", url=NOWHERE)
    assert refused.code != 0
    assert "namespace" in refused.stderr
