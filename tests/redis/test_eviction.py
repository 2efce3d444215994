"""Servers that evict: said once, survived honestly, healed by storing again."""

from __future__ import annotations

import asyncio
import os
import warnings

import pytest

from coatcheck import ArtifactLostError, AsyncRedisArtifactStore, EvictingServerWarning, RedisArtifactStore
from coatcheck.testing import ENGINES, Server

from ..conftest import require
from .traffic import Traffic

POLICIES = [
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


@pytest.fixture(scope="module", params=ENGINES, ids=lambda engine: engine.name)
def private(request, leaks):
    """A server whose settings may be changed."""
    with leaks.lasting():
        private = Server(require(request.param), tcp=True)
    yield private
    private.stop()


@pytest.fixture
def evicting(private):
    """It, with a policy that evicts; empty and unlimited again afterwards."""
    with private.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory-samples", 5)
        client.flushall()


def warned(recorded) -> list[str]:
    return [str(one.message) for one in recorded if one.category is EvictingServerWarning]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_that_evicts_is_warned_of_once(opened, private, evicting, policy) -> None:
    evicting.config_set("maxmemory-policy", policy)
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        store = opened(private.url)
        for n in range(3):
            store.load(store.store(b"%d" % n, run_id="a").artifact_id)
        store.list_all()
    [message] = warned(recorded)
    assert policy in message
    assert "maxmemory-policy noeviction" in message  # the cure


def test_tasks_that_begin_together_are_warned_once(private, evicting) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(private.url) as store:
            await asyncio.gather(*(store.store(b"%d" % n) for n in range(20)))

    with pytest.warns(EvictingServerWarning) as recorded:
        asyncio.run(main())
    assert len(warned(recorded)) == 1


def test_the_warning_points_at_the_caller(private, evicting) -> None:
    async def main() -> None:
        async with AsyncRedisArtifactStore(private.url) as store:
            await store.list_all()

    with pytest.warns(EvictingServerWarning) as recorded:
        with RedisArtifactStore(private.url) as store:
            store.list_all()
        asyncio.run(main())
    assert [one.filename for one in recorded] == [__file__, __file__]


@pytest.mark.parametrize("first", [lambda s: s.load("x"), lambda s: s.list_all(), lambda s: s.load_many(["a", "b"])])
def test_reading_warns_as_well(opened, private, evicting, first) -> None:
    with pytest.warns(EvictingServerWarning):
        first(opened(private.url))


def test_a_first_call_that_fails_does_not_use_up_the_warning(opened, private, evicting) -> None:
    evicting.set("coatcheck:runs", "not ours")
    store = opened(private.url)
    with pytest.raises(Exception, match="another type"):
        store.store(b"x", run_id="a")
    with pytest.warns(EvictingServerWarning):
        store.load("x")


def test_a_server_that_keeps_everything_is_not_warned_of(opened, private) -> None:
    store = opened(private.url)  # a warning would be an error
    store.delete(store.store(b"x", run_id="a").artifact_id)


def test_a_user_who_may_not_ask_is_served_without_a_warning(opened, private, evicting) -> None:
    evicting.execute_command("ACL", "SETUSER", "quiet", "on", ">secret", "~*", "+@all", "-info", "-config")
    try:
        store = opened(f"redis://quiet:secret@127.0.0.1:{private.port}/0")
        assert store.load_text(store.store(b"x").artifact_id) == "x"
    finally:
        evicting.execute_command("ACL", "DELUSER", "quiet")


def test_the_permissions_of_the_guide_with_info_are_enough_to_be_warned(opened, private, evicting) -> None:
    rules = "on >secret ~coatcheck:* +@all -@dangerous -@admin -keys -scan -randomkey +info"
    evicting.execute_command("ACL", "SETUSER", "worker", *rules.split())
    try:
        with pytest.warns(EvictingServerWarning):
            opened(f"redis://worker:secret@127.0.0.1:{private.port}/0").store(b"x")
    finally:
        evicting.execute_command("ACL", "DELUSER", "worker")


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
def test_asking_costs_no_round_trip(evicting) -> None:
    RedisArtifactStore(evicting).store(b"x", run_id="a")  # from here on the server knows the script
    store = RedisArtifactStore(evicting)
    traffic = Traffic(evicting)
    with pytest.warns(EvictingServerWarning):
        store.store(b"x", run_id="a")
    assert traffic.trips == 1


@pytest.mark.filterwarnings("ignore::coatcheck.EvictingServerWarning")
def test_what_was_evicted_is_told_as_lost_and_storing_it_again_heals_it(opened, private, evicting) -> None:
    store = opened(private.url)
    evicting.config_resetstat()
    evicting.config_set("maxmemory", evicting.info("memory")["used_memory"] + 2_000_000)
    contents: dict[str, bytes] = {}
    while evicting.info("stats")["evicted_keys"] < 100:
        content = os.urandom(8_000 if len(contents) % 10 else 100_000)
        name = f"name{len(contents)}" if len(contents) % 3 == 0 else None
        contents[store.store(content, run_id="a", artifact_id=name).artifact_id] = content
    evicting.config_set("maxmemory", 0)  # from here on nothing vanishes any more

    lost, absent = set(), set()
    for artifact_id, content in contents.items():
        try:
            loaded = store.load(artifact_id)
        except ArtifactLostError as error:
            assert artifact_id in str(error)
            lost.add(artifact_id)
        else:
            if loaded is None:
                absent.add(artifact_id)
            else:
                assert loaded.content == content
    assert lost, "no content was evicted before its metadata"
    assert set(store.find_missing(contents)) == lost | absent

    for artifact_id in lost | absent:
        store.store(
            contents[artifact_id], run_id="a", artifact_id=artifact_id if artifact_id.startswith("name") else None
        )
    for loaded, (artifact_id, content) in zip(store.load_many(contents), contents.items(), strict=True):
        assert loaded is not None, artifact_id
        assert loaded.content == content
    assert store.check(repair=True, read_data=True, grace=0).ok
    assert store.check(read_data=True).problems == []
