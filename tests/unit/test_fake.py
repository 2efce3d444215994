"""The fake server of `coatcheck.testing` runs what real ones run."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

import coatcheck
import fakeredis
import pytest
from coatcheck.testing import afake_store, fake_store
from coatcheck.testing.fake import fake_client
from redis.exceptions import NoScriptError, ResponseError

PACKED = {
    "'>I6', 1": b"\0\0\0\0\0\1",
    "'<I6', 1": b"\1\0\0\0\0\0",
    "'>I7', 2^53 - 1": b"\x1f" + b"\xff" * 6,
    "'>I6I7', 258, 3.9": b"\0\0\0\0\1\2" + b"\0\0\0\0\0\0\3",
    "'>I4B', 2^32 - 1, 7": b"\xff\xff\xff\xff\7",
    "'>h', -2": b"\xff\xfe",
    "'>H s', 1, 'ab'": b"\0\1ab\0",
    "'Bc0', 2, 'ab'": b"\2ab",
    "'c2xB', 'abc', 1": b"ab\0\1",
}
UNPACKED = {
    "'>I6', '\\0\\0\\0\\0\\0\\1'": [1, 7],
    "'<I6', '\\1\\0\\0\\0\\0\\0'": [1, 7],
    "'>I2I1', '..\\1\\2\\3', 3": [258, 3, 6],
    "'>h', '\\255\\254'": [-2, 3],
    "'>H', '\\255\\254'": [65534, 3],
    "'>Hs', '\\0\\1ab\\0cd'": [1, b"ab", 6],
    "'Bc0', '\\2abc'": [b"ab", 4],
    "'c2xB', 'ab\\0\\1'": [b"ab", 1, 5],
}


@pytest.fixture(params=["fake", "real"])
def client(request):
    """The fake, and a server that it has to agree with."""
    with fake_client() if request.param == "fake" else request.getfixturevalue("valkey").client() as client:
        yield client


@pytest.mark.parametrize("arguments", PACKED)
def test_scripts_pack(client, arguments) -> None:
    assert client.eval(f"#!lua\nreturn struct.pack({arguments})", 0) == PACKED[arguments]


@pytest.mark.parametrize("arguments", UNPACKED)
def test_scripts_unpack(client, arguments) -> None:
    assert client.eval(f"#!lua\nreturn {{struct.unpack({arguments})}}", 0) == UNPACKED[arguments]


def test_scripts_know_how_long_what_they_pack_is(client) -> None:
    assert client.eval("#!lua\nreturn struct.size('>I6I7Bhx')", 0) == 17


def test_what_is_too_short_is_not_unpacked(client) -> None:
    with pytest.raises(ResponseError, match="too short"):
        client.eval("#!lua\nreturn struct.unpack('>I6', '12345')", 0)


def test_a_format_that_is_not_faked_is_named() -> None:
    with fake_client() as client, pytest.raises(ResponseError, match="no format 'd'"):
        client.eval("return struct.pack('d', 1.5)", 0)


def test_scripts_begin_with_flags(client, namespace) -> None:
    script = "#!lua flags=no-writes,allow-oom\nlocal call = redis.call\nreturn call('GET', KEYS[1]) or #ARGV"
    assert client.eval(script, 1, f"{namespace}:absent", "a", "b") == 2


def test_an_absent_hash_has_no_random_fields(client, namespace) -> None:
    ask = "#!lua\nlocal found = redis.call('hrandfield', KEYS[1], 3, 'WITHVALUES')\nreturn #found"
    assert client.eval(ask, 1, f"{namespace}:absent") == 0
    assert client.eval("#!lua\nreturn redis.call('HRANDFIELD', KEYS[1]) == false", 1, f"{namespace}:absent") == 1


def test_a_script_is_known_once_it_was_sent(client, namespace) -> None:
    script = f"#!lua\nreturn '{namespace}'"
    sha = hashlib.sha1(script.encode()).hexdigest()
    with pytest.raises(NoScriptError):
        client.evalsha(sha, 0)
    client.eval(script, 0)
    assert client.evalsha(sha, 0) == namespace.encode()


def test_a_script_that_sets_a_global_fails_and_harms_no_other(client) -> None:
    with pytest.raises(ResponseError):
        client.eval("#!lua\nforgotten = 1\nreturn redis.call('TIME')", 0)
    assert client.eval("#!lua\nreturn 1", 0) == 1


def test_commands_that_are_sent_together_are_answered_in_order(client, namespace) -> None:
    pipeline = client.pipeline(transaction=True)
    pipeline.set(f"{namespace}:x", b"EVAL\r\n$4\r\n", px=60_000)
    pipeline.eval("#!lua\nreturn redis.call('GET', KEYS[1])", 1, f"{namespace}:x")
    assert pipeline.execute() == [True, b"EVAL\r\n$4\r\n"]


def test_stores_share_a_fake_server_or_have_one_of_their_own() -> None:
    async def store_text() -> str:
        async with afake_store(server) as store:
            return (await store.store_text("x")).artifact_id

    server = fakeredis.FakeServer()
    stored = asyncio.run(store_text())
    with fake_store(server) as same, fake_store(server, namespace="y") as other, fake_store() as alone:
        assert same.load_text(stored) == "x"
        assert other.load(stored) is alone.load(stored) is None


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_who_lacks_fakeredis_is_told_how_to_install_it(missing, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r'pip install "fakeredis\[lua\]"'):
        fake_store()


def test_the_product_knows_nothing_of_the_fake() -> None:
    package = Path(coatcheck.__file__).parent
    product = [path for path in package.rglob("*.*") if path.suffix in {".py", ".lua"} and "testing" not in path.parts]
    assert product
    assert [path for path in product if "fakeredis" in path.read_text(encoding="utf-8").lower()] == []
