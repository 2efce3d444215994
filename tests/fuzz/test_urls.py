"""Hostile URLs and options: a store is made, or they are refused; nobody is contacted, and no password is told."""

from __future__ import annotations

import re
import socket
import traceback

import pytest

from coatcheck import AsyncRedisArtifactStore, InvalidArtifactError, RedisArtifactStore, RedisOptions, open_store

from .trying import Fuzzer

SECRET = "hunter2"
IS_PASSWORD = re.compile(rf"{SECRET}[^?]*@|[?&]password={SECRET}")
"""Where it is one: what else it becomes by a change of letters may be a host."""
SCHEMES = [
    *("redis", "rediss", "unix", "valkey", "valkeys", "redis+cluster", "rediss+sentinel", "valkey+cluster", "memory"),
    *("http", "REDIS", "", "redis+", "+cluster", "redis+cluster+sentinel"),
]
HOSTS = [
    "h",
    "127.0.0.1",
    "[::1]",
    "[::1",
    "]",
    "h:1",
    "h:port",
    "h:99999",
    "h:-1",
    ":",
    "",
    "%00",
    "a,b:2",
    ",",
    "é",
    "\u2100",
]
PATHS = ["", "/", "/0", "/x", "/-1", "/s.sock", "/%00", "//", "/a b", "/service", "/service/0", "/9" * 9, "#f", "\n"]
OPTIONS = [
    *("db", "host", "port", "path", "password", "username", "protocol", "timeout", "max_connections", "retry"),
    *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "health_check_interval", "client_name"),
    *("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data", "ssl_min_version", "ssl_check_hostname", "ssl_password"),
    *("sentinel_username", "sentinel_password", "decode_responses", "credential_provider", "connection_class"),
    *("command_packer", "redis_connect_func", "nonsense", "", "ssl_", "DB"),
]
VALUES = [
    "0",
    "1",
    "-1",
    "nan",
    "inf",
    "1e999",
    "True",
    "x",
    "",
    "%00",
    "required",
    "none",
    "%ff",
    "/etc/passwd",
    "\ud800",
]


@pytest.fixture(autouse=True)
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"somebody was contacted: {args}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def url(fuzzer: Fuzzer) -> str:
    chance = fuzzer.chance
    user = chance.choice(
        ["", "", f":{SECRET}@", f"u:{SECRET}@", f"{SECRET}@", f"u:{SECRET}/x@", f"u:1#{SECRET}@", f"u:[{SECRET}@"]
    )
    options = "&".join(f"{chance.choice(OPTIONS)}={chance.choice(VALUES)}" for _ in range(chance.randrange(4)))
    if chance.random() < 0.1:
        options += f"&password={SECRET}"
    made = (
        chance.choice(SCHEMES)
        + chance.choice(["://"] * 8 + [":", "//", ""])
        + user
        + chance.choice(HOSTS)
        + chance.choice(PATHS)
        + (f"?{options}" if options else "")
    )
    if chance.random() < 0.3:
        at = chance.randrange(len(made) + 1)
        made = made[:at] + fuzzer.text()[:5] + made[at + chance.randrange(2) :]
    return made


def test_any_url_opens_or_is_refused() -> None:
    fuzzer = Fuzzer("urls", 3000)
    told = []
    while fuzzer.goes_on:
        made = url(fuzzer)
        if made.startswith(("file:", "embedded:")):
            continue
        options = {}
        if fuzzer.chance.random() < 0.2:
            name = fuzzer.chance.choice(list(RedisOptions.__dataclass_fields__))
            if name not in ("cache_dir",):  # makes a directory
                options[name] = fuzzer.value()
        for open_ in (RedisArtifactStore, AsyncRedisArtifactStore, open_store):

            def call(open_=open_) -> None:
                try:
                    store = open_(made, **options)
                    assert SECRET not in repr(store) or not IS_PASSWORD.search(made)
                except InvalidArtifactError as error:
                    if IS_PASSWORD.search(made) and SECRET in "".join(traceback.format_exception(error)):
                        told.append((made, str(error)))
                    raise

            fuzzer.attempt(f"{made!r} {options!r}", call)
    fuzzer.judge()
    assert told == []
