"""Servers that reply what no Redis server replies: every operation answers with an error of ours, on both faces."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio
from redis._parsers import _AsyncRESP2Parser, _RESP2Parser
from redis.backoff import NoBackoff
from redis.retry import Retry

from coatcheck import (
    ArtifactError,
    ArtifactStore,
    AsyncArtifactStore,
    AsyncRedisArtifactStore,
    RedisArtifactStore,
    StoreUnavailableError,
    compute_artifact_id,
)
from coatcheck.doctor import aexamine, examine

from .peers import Peer

ID = compute_artifact_id(b"x")
LARGE = b"large" * 20_000
CHUNKED = bytes(17 << 20)

REPLIES = {
    "simple string": b"+OK\r\n",
    "text": b"$3\r\nabc\r\n",
    "empty text": b"$0\r\n\r\n",
    "number": b":7\r\n",
    "negative number": b":-7\r\n",
    "nothing": b"$-1\r\n",
    "no list": b"*-1\r\n",
    "empty list": b"*0\r\n",
    "numbers": b"*2\r\n:1\r\n:2\r\n",
    "texts": b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    "nothings": b"*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n",
    "list in a list": b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\na\r\n:5\r\n",
    "outcome without its rest": b"*1\r\n*1\r\n$2\r\nok\r\n",
    "outcome of texts": b"*1\r\n*3\r\n$2\r\nok\r\n$1\r\nx\r\n$1\r\ny\r\n",
    "outcome beyond time": b"*1\r\n*3\r\n$2\r\nok\r\n:9223372036854775807\r\n:9223372036854775807\r\n",
    "other content": b"*1\r\n*2\r\n$5\r\nother\r\n$3\r\nabc\r\n",
    "a hundred lists": b"*1\r\n" * 100 + b":1\r\n",
    "ten thousand lists": b"*1\r\n" * 10_000 + b":1\r\n",
    "map": b"%1\r\n+a\r\n+b\r\n",
    "null": b"_\r\n",
    "truth": b"#t\r\n",
    "fraction": b",1.5\r\n",
    "error": b"-ERR nonsense\r\n",
    "error without words": b"-\r\n",
    "list of billions": b"*2147483647\r\n",
    "value of gigabytes": b"$9999999999\r\n",
    "web page": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>\r\n",
    "no type": b"?what\r\n",
    "long line": b"+" + b"a" * 1_000_000 + b"\r\n",
}


SAID = "unexpected reply|Timeout reading"
NEVER, ANEVER = Retry(NoBackoff(), 0), redis.asyncio.retry.Retry(NoBackoff(), 0)


def first(iterator: Any) -> Any:
    """The first of an iterator of either face."""
    return anext(iterator, None) if hasattr(iterator, "__anext__") else next(iterator, None)


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "store": lambda s: s.store(b"x", run_id="a", tags={"k": "v"}, ttl=60),
    "store explicit": lambda s: s.store(b"x", artifact_id="name"),
    "store large": lambda s: s.store(LARGE * 5),
    "store placed": lambda s: s.store(LARGE),
    "store_text": lambda s: s.store_text("x"),
    "store_json": lambda s: s.store_json({"x": 1}),
    "store_many": lambda s: s.store_many([b"x", LARGE, b"y"], run_id="a"),
    "store_file": lambda s: s.store_file(io.BytesIO(LARGE)),
    "store_file chunked": lambda s: s.store_file(io.BytesIO(CHUNKED)),
    "store if absent": lambda s: s.store(b"x", artifact_id="name", if_absent=True),
    "store large if": lambda s: s.store(LARGE, artifact_id="name", if_digest="0" * 64),
    "link": lambda s: s.link(ID, "name"),
    "load": lambda s: s.load(ID),
    "load explicit": lambda s: s.load("name"),
    "load own": lambda s: s.load(ID, run_id="a"),
    "load_many": lambda s: s.load_many([ID, "name"]),
    "load_text": lambda s: s.load_text(ID),
    "load_json": lambda s: s.load_json(ID),
    "load_range": lambda s: s.load_range(ID, 1, 2),
    "open": lambda s: s.open(ID),
    "get_metadata": lambda s: s.get_metadata("name"),
    "metadata_many": lambda s: s.metadata_many([ID, "name"]),
    "exists": lambda s: s.exists("name"),
    "find_missing": lambda s: s.find_missing([ID, "name"]),
    "claim": lambda s: s.find_missing([ID, "name"], ttl=60, run_id="a"),
    "delete": lambda s: s.delete(ID),
    "delete_many": lambda s: s.delete_many([ID, "name"]),
    "touch": lambda s: s.touch(ID, 60, "a"),
    "update_metadata": lambda s: s.update_metadata(ID, tags={}),
    "update_many": lambda s: s.update_many([ID, "name"], run_id="a", extra=dict),
    "release": lambda s: s.release("name", "a"),
    "leases": lambda s: s.leases(ID),
    "leases_many": lambda s: s.leases_many([ID]),
    "list_by_run": lambda s: s.list_by_run("a"),
    "list_all": lambda s: s.list_all(),
    "list_runs": lambda s: s.list_runs(),
    "page": lambda s: s.page(tags={"k": "v"}),
    "page by expiry": lambda s: s.page(by="expiry", run_id="a"),
    "page by size": lambda s: s.page(by="size"),
    "iter_artifacts": lambda s: first(s.iter_artifacts()),
    "iter_run": lambda s: first(s.iter_run("a")),
    "iter_runs": lambda s: first(s.iter_runs()),
    "page_runs": lambda s: s.page_runs(),
    "search": lambda s: s.search(content_type="text/plain", order="asc"),
    "delete_by_run": lambda s: s.delete_by_run("a"),
    "stats": lambda s: s.stats(),
    "stats of some": lambda s: s.stats(min_size=1),
    "count": lambda s: s.count(),
    "count some": lambda s: s.count(tags={"k": "v"}),
    "facets": lambda s: s.facets("tag:k"),
    "run": lambda s: s.run("a").store(b"x"),
    "run_stats": lambda s: s.run_stats("a"),
    "run_stats_many": lambda s: s.run_stats_many(["a", "b"]),
    "touch_run": lambda s: s.touch_run("a", 60),
    "expire_run": lambda s: s.expire_run("a", 60),
    "delete_where": lambda s: s.delete_where(min_size=1, dry_run=False),
    "delete_where of a run": lambda s: s.delete_where(run_id="a", dry_run=False),
    "examine": lambda s: aexamine(s) if isinstance(s, AsyncArtifactStore) else examine(s),
    "gc": lambda s: s.gc(dry_run=False, grace=0),
    "reindex": lambda s: s.reindex(),
    "check": lambda s: s.check(read_data=True, repair=True, grace=0),
}


def lying(reply: str) -> Peer:
    """Replies the same to every command but those of the login."""
    return Peer(lambda _: REPLIES[reply])


def test_no_operation_is_left_out() -> None:
    left_out = {"close"}
    for contract in (ArtifactStore, AsyncArtifactStore):
        public = {name for name, value in vars(contract).items() if callable(value) and not name.startswith("_")}
        tried = {word.partition(" ")[0] for word in OPERATIONS}
        assert public - tried == left_out


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
@pytest.mark.parametrize("reply", REPLIES)
def test_what_a_liar_replies_is_never_a_raw_error(reply) -> None:
    raw = {}
    with lying(reply) as liar:
        options: dict[str, Any] = {"retry_for": 0, "timeout": 0.2}

        async def awaited() -> None:
            async with AsyncRedisArtifactStore(liar.url, **options) as store:
                for name, operation in OPERATIONS.items():
                    try:
                        await operation(store)
                    except ArtifactError:
                        pass
                    except Exception as error:  # noqa: BLE001  # that is the question
                        raw["await", name] = error

        with RedisArtifactStore(liar.url, **options) as store:
            for name, operation in OPERATIONS.items():
                try:
                    operation(store)
                except ArtifactError:
                    pass
                except Exception as error:  # noqa: BLE001  # that is the question
                    raw[name] = error
        asyncio.run(awaited())
    assert raw == {}


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
@pytest.mark.parametrize("reply", ["web page", "no type", "list of billions", "value of gigabytes", "map"])
def test_a_server_that_is_none_is_asked_about(reply) -> None:
    with lying(reply) as liar, RedisArtifactStore(liar.url, retry_for=0, timeout=0.5) as store:
        with pytest.raises(StoreUnavailableError):
            store.load(ID)


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
@pytest.mark.parametrize("reply", ["ten thousand lists", "map", "value of gigabytes"])
def test_a_callers_client_may_parse_in_python(reply) -> None:
    with lying(reply) as liar:
        with redis.Redis(port=liar.port, protocol=2, socket_timeout=0.2, retry=NEVER) as client:
            client.connection_pool.connection_kwargs["parser_class"] = _RESP2Parser
            with RedisArtifactStore(client, retry_for=0) as store, pytest.raises(StoreUnavailableError, match=SAID):
                store.load(ID)

        async def awaited() -> None:
            async with redis.asyncio.Redis(port=liar.port, protocol=2, socket_timeout=0.2, retry=ANEVER) as client:
                client.connection_pool.connection_kwargs["parser_class"] = _AsyncRESP2Parser
                async with AsyncRedisArtifactStore(client, retry_for=0) as store:
                    with pytest.raises(StoreUnavailableError, match=SAID):
                        await store.load(ID)

        asyncio.run(awaited())


def test_a_reply_that_a_callers_client_has_no_memory_for_is_a_liars(monkeypatch) -> None:
    read = redis.Connection.read_response

    def full(self, *arguments, **keywords):
        if keywords.get("disable_decoding"):  # no part of the login
            raise MemoryError
        return read(self, *arguments, **keywords)

    with lying("list of billions") as liar, redis.Redis(port=liar.port, protocol=2, retry=NEVER) as client:
        with RedisArtifactStore(client, retry_for=0) as store:
            monkeypatch.setattr(redis.Connection, "read_response", full)
            with pytest.raises(StoreUnavailableError, match="larger than there is memory"):
                store.load(ID)
