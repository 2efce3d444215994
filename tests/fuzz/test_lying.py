"""A lying server: any replies to any commands, on both faces. Errors are ours, and no other bytes come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from coatcheck import AsyncRedisArtifactStore, RedisArtifactStore

from ..redis.peers import Peer, Words
from ..redis.test_liars import ID, OPERATIONS
from .trying import Fuzzer

OPTIONS: dict[str, Any] = {"retry_for": 0, "timeout": 0.02}

WORDS = [
    *(
        b"ok",
        b"need",
        b"absent",
        b"other",
        b"chunked",
        b"short",
        b"taken",
        b"later",
        b"crowded",
        b"0",
        b"1",
        b"17",
        b"-1",
    ),
    *(
        b"",
        b"noeviction",
        b"name",
        bytes.fromhex(ID),
        ID.encode(),
        b"\x02" + bytes(40),
        b"=a",
        b"-",
        b"1700000000000000",
    ),
    *(b"string", b"zset", b"hash", b"none", b"inf", b"nan", b"1e300", bytes(13), b"h", b"t", b"!" + b"0" * 30),
]


def replies(fuzzer: Fuzzer) -> Callable[[Words], bytes]:
    """Makes replies: well formed mostly, of types that some command has, sometimes with a bit flipped."""
    chance = fuzzer.chance

    def text(value: bytes) -> bytes:
        return b"$%d\r\n%b\r\n" % (len(value), value)

    def value(depth: int) -> bytes:
        kind = chance.random()
        if kind < 0.35:
            return text(chance.choice(WORDS) if chance.random() < 0.9 else chance.randbytes(chance.randrange(60)))
        if kind < 0.55:
            return b":%d\r\n" % chance.choice([0, 1, 2, -1, -2, 17, 500, 1_700_000_000_000, 2**48 - 1, 2**62])
        if kind < 0.6:
            return chance.choice([b"$-1\r\n", b"*-1\r\n", b"+OK\r\n", b"+\r\n", b"_\r\n", b"#t\r\n", b",1.5\r\n"])
        if kind < 0.66:
            return chance.choice(
                [b"-ERR x\r\n", b"-WRONGTYPE x\r\n", b"-NOSCRIPT x\r\n", b"-MOVED 1 h:1\r\n", b"-ASK x\r\n"]
            )
        if kind < 0.68:
            return b"-COATCHECKMEND coatcheck:artifact:%b\r\n" % ID.encode()
        if depth > 5:
            return b"*0\r\n"
        count = chance.choice([0, 1, 1, 2, 2, 3, 4, 5, 6])
        return b"*%d\r\n" % count + b"".join(value(depth + 1) for _ in range(count))

    def reply(_: Words) -> bytes:
        made = value(chance.choice([0, 0, 3]))
        if chance.random() < 0.02:
            at = chance.randrange(len(made))
            made = made[:at] + chance.choice([b"\r\n", b"$", b"*", b"9", b""]) + made[at + 1 :]
        return made

    return reply


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
@pytest.mark.parametrize("face", ["sync", "async"])
def test_any_replies_are_endured(face) -> None:
    fuzzer = Fuzzer(f"lies, {face}", 600)
    names = [name for name in OPERATIONS if name != "store_file chunked"]  # 17 MiB each time

    def operate() -> None:
        with Peer(replies(fuzzer)) as peer, RedisArtifactStore(peer.url, **OPTIONS) as store:
            for _ in range(200):
                name = fuzzer.chance.choice(names)
                fuzzer.attempt(name, lambda name=name: OPERATIONS[name](store))

    async def operate_async() -> None:
        with Peer(replies(fuzzer)) as peer:
            async with AsyncRedisArtifactStore(peer.url, **OPTIONS) as store:
                for _ in range(200):
                    name = fuzzer.chance.choice(names)
                    result = error = None
                    try:
                        result = await OPERATIONS[name](store)
                    except Exception as caught:  # noqa: BLE001  # judged below
                        error = caught
                    fuzzer.attempt(name, lambda result=result, error=error: answer(result, error))

    while fuzzer.goes_on:
        if face == "sync":
            operate()
        else:
            asyncio.run(operate_async())
    fuzzer.judge()


def answer(result: Any, error: Exception | None) -> Any:
    if error is not None:
        raise error
    return result
