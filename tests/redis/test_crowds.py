"""An artifact that more than 64 runs lease: its leases are known to indexes, and everything stays as with few."""

from __future__ import annotations

import pytest
from coatcheck import compute_artifact_id
from coatcheck.backends.redis import leasing
from coatcheck.backends.redis.scripts import calls
from coatcheck.plan import run as run_plan
from coatcheck.testing import waiting

HOT = b"hot"
NAME = compute_artifact_id(HOT)
CROWD = [f"run {n}" for n in range(70)]


@pytest.fixture
def server(valkey):
    return valkey


@pytest.fixture
def crowd(store):
    """Leases of all runs, in order."""
    return [store.store(HOT, run_id=run, tags={"run": run}, ttl=600) for run in CROWD]


def lessees(store, artifact_id=NAME) -> list[str]:
    return [lease.run_id for lease in store.leases(artifact_id)]


def is_sound(store) -> bool:
    return store.check(grace=0).problems == []


def test_the_latest_of_a_crowd_is_shown(store, crowd) -> None:
    assert store.get_metadata(NAME) == crowd[-1]
    again = store.store(HOT, run_id=CROWD[3], ttl=600)
    assert store.get_metadata(NAME) == store.load(NAME).metadata == again
    assert lessees(store) == [run for run in CROWD if run != CROWD[3]] + [CROWD[3]]
    assert is_sound(store)


def test_a_crowd_begins_with_the_65th_lease(store, client, keys) -> None:
    for n in range(65):
        assert client.zcard(keys.leases(NAME.encode())) == client.zcard(keys.stores(NAME.encode())) == 0
        store.store(HOT, run_id=f"run {n}")
    assert client.zcard(keys.leases(NAME.encode())) == client.zcard(keys.stores(NAME.encode())) == 65


def test_a_crowd_is_listed_page_by_page(store, crowd, monkeypatch) -> None:
    monkeypatch.setattr(leasing, "PAGE", 9)
    assert lessees(store) == CROWD


def test_a_crowd_shrinks_to_one(store, crowd, client, keys) -> None:
    for n in range(len(CROWD) - 1, 0, -1):
        assert store.release(NAME, CROWD[n])
        assert store.get_metadata(NAME) == crowd[n - 1]
        assert is_sound(store)
    name = NAME.encode()
    assert sorted(client.hkeys(keys.artifact(name))) == [b"=run%200", b"h"]
    assert not client.exists(keys.leases(name), keys.stores(name))


@pytest.mark.parametrize("ttl", [6000, 60, None])
def test_one_lease_of_a_crowd_is_moved(store, crowd, client, keys, ttl) -> None:
    assert store.touch(NAME, ttl, CROWD[5])
    assert is_sound(store)
    assert store.touch(NAME, 5, CROWD[5])
    assert is_sound(store)
    assert client.pexpiretime(keys.stores(NAME.encode())) == client.pexpiretime(keys.artifact(NAME.encode()))
    assert lessees(store) == CROWD


def test_a_crowd_ends(store, client, keys) -> None:
    store.store(HOT, run_id="stays")
    for run in CROWD:
        store.store(HOT, run_id=run, ttl=2)
    assert is_sound(store)
    waiting.eventually(lambda: lessees(store) == ["stays"])
    assert store.get_metadata(NAME).run_id == "stays"
    assert store.touch(NAME, 600, "stays")
    assert client.hlen(keys.artifact(NAME.encode())) == 2
    assert is_sound(store)


def test_dead_leases_of_a_crowd_are_dropped(store, crowd, client, keys) -> None:
    for run in CROWD[:4]:
        store.touch(NAME, 0.05, run)
    waiting.eventually(lambda: lessees(store) == CROWD[4:])
    assert store.touch(NAME, 60, CROWD[9])
    assert client.zcard(keys.stores(NAME.encode())) == client.zcard(keys.leases(NAME.encode())) == 66
    assert client.hlen(keys.artifact(NAME.encode())) == 68
    assert is_sound(store)


def test_a_deleted_crowd_leaves_nothing(store, crowd, keys_of) -> None:
    assert store.delete(NAME)
    assert keys_of() == []


def test_a_replaced_crowd_leaves_nothing(store, keys_of) -> None:
    for run in CROWD:
        store.store(HOT, artifact_id="name", run_id=run)
    assert is_sound(store)
    store.store(b"other", artifact_id="name", run_id="new")
    assert store.list_runs() == lessees(store, "name") == ["new"]
    assert store.delete("name")
    assert keys_of() == []


def test_who_leases_again_while_a_crowd_is_forgotten_stays(store, crowd, client, keys) -> None:
    session, name, buried = store._operations.backend.session, NAME.encode(), keys.buried(NAME.encode(), b"0" * 16)
    store.touch(NAME, None, CROWD[1])
    run_plan(session.write(calls.delete(keys, [calls.Name.of(NAME)], buried)))
    assert client.pttl(buried) > 0
    store.store(HOT, run_id=CROWD[0])
    while run_plan(session.write(calls.forget(keys, name, buried, 50))):
        pass
    assert store.list_runs() == [CROWD[0]]
    assert [artifact.artifact_id for artifact in store.list_by_run(CROWD[0])] == [NAME]
    assert is_sound(store)


@pytest.mark.parametrize("index", ["leases", "stores"])
@pytest.mark.parametrize("damage", ["gone", "more"])
def test_disorder_is_mended_on_the_way(store, crowd, client, keys, index, damage) -> None:
    key = getattr(keys, index)(NAME.encode())
    if damage == "gone":
        client.delete(key)
    else:
        client.zadd(key, {"=nobody": "+inf"})
    assert store.release(NAME, CROWD[-1])
    assert store.get_metadata(NAME) == crowd[-2]
    assert is_sound(store)


def test_wrong_ends_are_found_and_mended(store, crowd, client, keys) -> None:
    client.zadd(keys.leases(NAME.encode()), {"=run 1": "+inf"})
    assert not is_sound(store)
    store.check(repair=True, grace=0)
    store.check(repair=True, grace=0)
    assert is_sound(store)
