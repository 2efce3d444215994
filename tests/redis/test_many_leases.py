"""Content that very many runs lease: the same in every way as what few lease, and no script reads all leases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coatcheck import ArtifactConflictError, RedisArtifactStore, compute_artifact_id
from coatcheck.backends.redis.layout.records import lease_field
from coatcheck.testing import eventually

CONTENT = b"the prompt that everybody sends"
HOT = compute_artifact_id(CONTENT)
NAME = HOT.encode()
RUNS = [f"run {n:03}" for n in range(300)]
INDEXED = 65  # leases from which on indexes know them


@pytest.fixture
def partitions() -> int:
    return 64


@pytest.fixture
def store(valkey, namespace, partitions) -> Iterator[RedisArtifactStore]:
    with RedisArtifactStore(valkey.url, namespace=namespace, partitions=partitions) as store:
        yield store


@pytest.fixture
def client(valkey):
    with valkey.client() as client:
        yield client


@pytest.fixture
def keys(store):
    return store._operations.backend.session.of(HOT)


def fill(store, runs=RUNS, *, artifact_id=None, content=CONTENT, ttl=None) -> None:
    for run in runs:
        store.store(content, run_id=run, tags={"by": run}, artifact_id=artifact_id, ttl=ttl)


def agree(store, runs, *, artifact_id=HOT, content=CONTENT) -> None:
    """All views tell of the same leases; the last of `runs` stored last."""
    runs = list(runs)
    assert [lease.run_id for lease in store.leases(artifact_id)] == runs
    assert store.stats().leases == len(runs)
    assert sorted(store.list_runs()) == sorted(run for run in runs if run is not None)
    assert store.check().problems == []
    if runs:
        assert store.get_metadata(artifact_id).run_id == runs[-1]
        assert store.load(artifact_id).content == content
        assert store.load(artifact_id).metadata.run_id == runs[-1]
        for run in runs[0], runs[len(runs) // 2], runs[-1]:
            if run is not None:
                assert [view.tags["by"] for view in store.list_by_run(run)] == [run]
    else:
        assert store.get_metadata(artifact_id) is None
        assert store.list_all() == []


@pytest.mark.parametrize("partitions", [1, 64])
@pytest.mark.parametrize("artifact_id", [None, "report"])
def test_leases_agree_on_the_way_up_and_down(store, artifact_id) -> None:
    name = artifact_id or HOT
    fill(store, RUNS[:63], artifact_id=artifact_id)
    for count in range(64, 68):
        fill(store, RUNS[count - 1 : count], artifact_id=artifact_id)
        agree(store, RUNS[:count], artifact_id=name)
    fill(store, RUNS[67:], artifact_id=artifact_id)
    agree(store, RUNS, artifact_id=name)
    for count in range(299, 69, -1):
        assert store.release(name, RUNS[count])
    for count in range(69, 60, -1):
        assert store.release(name, RUNS[count])
        assert not store.release(name, RUNS[count])
        agree(store, RUNS[:count], artifact_id=name)
    assert [store.delete_by_run(run) for run in RUNS[:61]] == [1] * 61
    agree(store, [], artifact_id=name)


def test_releasing_the_latest_shows_the_one_before(store) -> None:
    fill(store, RUNS[:100])
    for count in range(99, 90, -1):
        store.release(HOT, RUNS[count])
        assert store.get_metadata(HOT).run_id == RUNS[count - 1]
    agree(store, RUNS[:91])
    store.store(CONTENT, run_id=RUNS[5], tags={"by": RUNS[5]})
    agree(store, [*RUNS[:5], *RUNS[6:91], RUNS[5]])


def test_the_anonymous_lease_is_one_of_them(store) -> None:
    fill(store, RUNS[:80])
    store.store(CONTENT, tags={"by": "nobody"})
    agree(store, [*RUNS[:80], None])
    assert store.touch(HOT, 600)
    assert store.release(HOT, None)
    agree(store, RUNS[:80])


@pytest.mark.parametrize("partitions", [1, 64])
def test_leases_that_have_ended_are_gone_and_the_others_stay(store, client, keys) -> None:
    fill(store, RUNS[:70])
    fill(store, RUNS[70:140], ttl=0.5)
    eventually(lambda: len(store.leases(HOT)) == 70)
    assert store.get_metadata(HOT).run_id == RUNS[69]
    assert [view.run_id for view in store.list_all()] == [RUNS[69]]
    assert store.list_by_run(RUNS[100]) == []
    assert not store.release(HOT, RUNS[100])
    fill(store, RUNS[140:141])
    agree(store, [*RUNS[:70], RUNS[140]])
    store.gc(dry_run=False, grace=0)
    assert client.hlen(keys.artifact(NAME)) == client.zcard(keys.leases(NAME)) + 2


def test_an_artifact_ends_with_the_last_of_many_leases(store, client, keys, namespace) -> None:
    fill(store, RUNS[:80], ttl=600)
    assert store.touch(HOT, 6000, RUNS[7])
    assert 5_000_000 < client.pttl(keys.artifact(NAME)) <= 6_000_000
    assert client.pexpiretime(keys.artifact(NAME)) == client.pexpiretime(keys.content(NAME))
    assert store.touch(HOT, 60, RUNS[7])
    assert client.pttl(keys.artifact(NAME)) <= 600_000
    for run in RUNS[:80]:
        assert store.touch(HOT, 0.3, run)
    eventually(lambda: not list(client.scan_iter(match=f"{namespace}:*", count=1000)))


def test_claims_of_many_runs_are_leases_like_any(store) -> None:
    fill(store, RUNS[:64])
    for run in RUNS[64:90]:
        assert store.find_missing([HOT], ttl=600, run_id=run) == []
    assert [lease.run_id for lease in store.leases(HOT)] == RUNS[:90]
    assert store.get_metadata(HOT).tags == {"by": RUNS[63]}
    assert store.check().problems == []


@pytest.mark.parametrize("partitions", [1, 64])
@pytest.mark.parametrize("many", [64, 65, 300])
def test_deleting_tells_every_run(store, client, namespace, many) -> None:
    fill(store, RUNS[:many])
    assert store.delete(HOT)
    assert not store.delete(HOT)
    agree(store, [])
    assert list(client.scan_iter(match=f"{namespace}:*", count=1000)) == []


@pytest.mark.parametrize("many", [64, 65, 300])
def test_replacing_ends_the_leases_of_all(store, client, namespace, many) -> None:
    fill(store, RUNS[:many], artifact_id="report")
    store.store(b"new", artifact_id="report", run_id="z", tags={"by": "z"})
    agree(store, ["z"], artifact_id="report", content=b"new")
    assert store.delete("report")
    assert list(client.scan_iter(match=f"{namespace}:*", count=1000)) == []


DAMAGE = {
    "both lost": lambda client, keys: client.delete(keys.leases(NAME), keys.stores(NAME)),
    "leases lost": lambda client, keys: client.delete(keys.leases(NAME)),
    "stores lost": lambda client, keys: client.delete(keys.stores(NAME)),
    "one lost": lambda client, keys: client.zrem(keys.leases(NAME), lease_field(RUNS[4])),
    "stale": lambda client, keys: client.zadd(keys.leases(NAME), {"=nobody": 5e12}),
    "stale store": lambda client, keys: client.zadd(keys.stores(NAME), {"=nobody": 5e15}),
    "many dead": lambda client, keys: client.zadd(
        keys.leases(NAME), dict.fromkeys((f"={run}" for run in RUNS[:90]), 1)
    ),
}
SUBTLE = {
    **DAMAGE,
    "a deadline wrong": lambda client, keys: client.zadd(keys.leases(NAME), {lease_field(RUNS[4]): 5e12}),
    "a time wrong": lambda client, keys: client.zadd(keys.stores(NAME), {lease_field(RUNS[4]): 5e15}),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.store(CONTENT, run_id=RUNS[100], tags={"by": RUNS[100]}),
        lambda store: store.touch(HOT, 600, RUNS[100]),
        lambda store: store.release(HOT, RUNS[0]) and store.store(CONTENT, run_id=RUNS[0]),
        lambda store: store.find_missing([HOT], ttl=600, run_id="z") == [] and store.release(HOT, "z"),
    ],
    ids=["store", "touch", "release", "claim"],
)
def test_the_next_change_mends_damaged_indexes(store, client, keys, damage, change) -> None:
    fill(store, RUNS[:101])
    DAMAGE[damage](client, keys)
    assert change(store)
    assert {lease.run_id for lease in store.leases(HOT)} == set(RUNS[:101])
    assert store.check().problems == []


@pytest.mark.parametrize("damage", SUBTLE)
def test_check_finds_and_mends_damaged_indexes(store, client, keys, damage) -> None:
    fill(store, RUNS[:101])
    SUBTLE[damage](client, keys)
    assert not store.check().ok
    assert store.check(repair=True).ok
    agree(store, RUNS[:101])


@pytest.mark.parametrize("damage", SUBTLE)
def test_deleting_is_right_although_indexes_are_damaged(store, client, keys, namespace, damage) -> None:
    fill(store, RUNS[:101])
    SUBTLE[damage](client, keys)
    assert store.delete(HOT)
    assert store.get_metadata(HOT) is None
    assert all(store.list_by_run(run) == [] for run in RUNS[:101])
    store.gc(dry_run=False, grace=0)
    assert store.check().problems == []


def calls(client) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): one["calls"] for name, one in client.info("commandstats").items()}


@pytest.mark.parametrize("partitions", [1, 64])
def test_no_script_reads_all_leases(store, client) -> None:
    operations = {
        "store": lambda: store.store(CONTENT, run_id="one more"),
        "store again": lambda: store.store(CONTENT, run_id=RUNS[3]),
        "load": lambda: store.load(HOT),
        "metadata": lambda: store.get_metadata(HOT),
        "list by run": lambda: store.list_by_run(RUNS[3]),
        "touch": lambda: store.touch(HOT, 600, RUNS[3]),
        "claim": lambda: store.find_missing([HOT], ttl=600, run_id="z"),
        "release": lambda: store.release(HOT, "z"),
        "delete by run": lambda: store.delete_by_run(RUNS[5]),
        "figures": store.stats,
        "list all": store.list_all,
    }
    spent: dict[str, list[int]] = {name: [] for name in operations}
    for runs in RUNS[:100], [f"later {n}" for n in range(1900)]:
        fill(store, [*runs, RUNS[5]])
        for name, operation in operations.items():
            before = calls(client)
            operation()
            after = calls(client)
            read = {one for one in after if after[one] > before.get(one, 0)}
            assert not read & {"hgetall", "hkeys", "hvals"}, name
            spent[name].append(sum(after.values()) - sum(before.values()))
    few = 60 + 5 * len(store._operations.backend.session.partitions.all)
    assert {name: counts for name, counts in spent.items() if max(counts) > few} == {}
    assert {name: counts for name, counts in spent.items() if counts[1] > counts[0] + 20} == {}


def test_conditions_updates_links_and_exact_ends_among_many_leases(store) -> None:
    for n in range(70):
        store.store(b"shared", artifact_id="name", run_id=f"run {n}", ttl=500)
    store.store(b"shared", artifact_id="name", run_id="mine")
    latest = store.store(b"shared", artifact_id="name", run_id="mine", ttl=100, exact_ttl=True)
    assert store.get_metadata("name") == latest
    assert latest.expires_at < store.get_metadata("name", run_id="run 1").expires_at
    with pytest.raises(ArtifactConflictError) as caught:
        store.store(b"shared", artifact_id="name", run_id="mine", if_absent=True)
    assert caught.value.metadata == latest
    updated = store.update_metadata("name", run_id="run 3", tags={"k": "v"})
    assert store.get_metadata("name", run_id="run 3") == updated
    assert store.check(read_data=True).problems == []
    store.link("name", "other", run_id="else")
    store.store(b"new", artifact_id="name", run_id="new", if_digest=latest.digest)
    assert [lease.run_id for lease in store.leases("name")] == ["new"]
    assert store.list_by_run("run 5") == []
    assert store.load_text("other") == "shared"
    assert store.check(read_data=True).problems == []
