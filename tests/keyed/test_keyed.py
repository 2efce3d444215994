"""Artifacts by keys: in memory, in files, on a server and on a cluster, blocking and awaited."""

from __future__ import annotations

import asyncio
import inspect
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck import (
    ArtifactConflictError,
    ArtifactNotFoundError,
    AsyncRedisArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    foreign_id,
    validate_artifact_id,
)
from coatcheck.ids import is_default_id
from coatcheck.keyed import AsyncKeyed, AsyncVersions, Keyed, Versions
from coatcheck.testing import eventually

NASTY = ["", "a", "a/b", "a/b/c", "ab", "../x", "a\0b", "\N{ADMISSION TICKETS}", "*", "a" * 1024]


@pytest.fixture(params=["memory", "file", "valkey", "valkey_cluster"])
def store(request, tmp_path, namespace):
    if request.param == "memory":
        opened = InMemoryArtifactStore()
    elif request.param == "file":
        opened = FileArtifactStore(tmp_path)
    else:
        opened = RedisArtifactStore(request.getfixturevalue(request.param).url, namespace=namespace)
    with opened:
        yield opened


def keys(views) -> list[str]:
    return [view.extra["key"] for view in views]


# Ids of others' keys ------------------------------------------------------------------------------------------------


def test_ids_of_keys_stay_what_they_are() -> None:
    assert foreign_id("a") == "k-0eb5b8d6f81bc677da8a08567cc4fa9a06a57e9e"
    assert foreign_id("a", 1, None, True, 0.5, "ü") == "k-9ac1f4cda73041f92ee64c56a08f11ecd2e85a31"


parts = st.lists(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4), min_size=1
)


@given(parts, parts)
def test_different_keys_have_different_ids(one, other) -> None:
    same = [(type(part), part) for part in one] == [(type(part), part) for part in other]
    try:
        ids = foreign_id(*one), foreign_id(*other)
    except InvalidArtifactError:  # infinities, lone surrogates
        return
    assert (ids[0] == ids[1]) is (same and str(one) == str(other))  # 0.0 and -0.0
    validate_artifact_id(ids[0])
    assert not is_default_id(ids[0])


@pytest.mark.parametrize("wrong", [(), (b"a",), ([],), ({},), (float("nan"),), ("\ud800",)])
def test_what_is_no_key_has_no_id(wrong) -> None:
    with pytest.raises(InvalidArtifactError):
        foreign_id(*wrong)


# One artifact under each key ----------------------------------------------------------------------------------------


def test_what_is_set_is_got(store) -> None:
    site = Keyed(store, "site")
    for key in NASTY:
        assert site.get(key) is site.get_metadata(key) is None
        view = site.set(key, key.encode(), content_type="text/plain", tags={"k": "v"}, extra={"own": 1})
        assert (view.run_id, view.tags, view.extra) == ("site", {"k": "v"}, {"own": 1, "key": key})
        assert view.artifact_id == site.artifact_id(key)
        found = site.get(key, required=True)
        assert (found.content, found.metadata) == (key.encode(), view)
        assert site.get_metadata(key) == view
        assert store.load(view.ref) == found
    assert keys(site.entries()) == sorted(NASTY)
    site.set("a", b"other")
    assert site.get("a").content == b"other"
    assert [site.delete(key) for key in ("a", "a", "never")] == [True, False, False]
    assert site.get("a") is None
    store.delete_by_run("site")
    assert site.entries() == store.list_all() == []


def test_collections_are_apart(store) -> None:
    one, other = Keyed(store, "one"), Keyed(store, "other")
    one.set("key", b"1")
    other.set("key", b"2")
    Versions(store, "one").add("key", b"3")
    store.store(b"4", run_id="one")
    store.store(b"5", run_id="one", extra={"key": "forged"})
    assert (one.get("key").content, other.get("key").content) == (b"1", b"2")
    assert keys(one.entries()) == ["key"]
    assert one.delete("key")
    assert other.get("key", required=True).content == b"2"


def test_prefixes_come_in_pages(store) -> None:
    site = Keyed(store, "site")
    for n in range(7):
        site.set(f"a/{n}", b"%d" % n)
    site.set("b", b"")
    assert keys(site.entries("a/", limit=3)) == ["a/0", "a/1", "a/2"]
    assert keys(site.entries("a/", after="a/2", limit=3)) == ["a/3", "a/4", "a/5"]
    assert keys(site.entries("a/", after="a/5")) == ["a/6"]
    assert keys(site.entries("c")) == site.entries("a", after="a/6") == []
    assert keys(site.entries(limit=-1)) == keys(site.entries()) == [*(f"a/{n}" for n in range(7)), "b"]


def test_conditions_compare_with_what_lies_under_the_key(store) -> None:
    site = Keyed(store, "site")
    first = site.set("key", b"1", if_absent=True)
    with pytest.raises(ArtifactConflictError) as caught:
        site.set("key", b"2", if_absent=True)
    assert caught.value.metadata == first
    second = site.set("key", b"2", if_digest=first.digest)
    with pytest.raises(ArtifactConflictError):
        site.set("key", b"3", if_digest=first.digest)
    assert site.get_metadata("key") == second


def test_a_key_ends_when_its_ttl_says(store) -> None:
    site = Keyed(store, "site")
    site.set("key", b"1")
    site.set("key", b"1", ttl=0.05)
    eventually(lambda: site.get("key") is None)
    assert site.entries() == []


def test_links_and_files_lie_under_keys_too(store) -> None:
    site = Keyed(store, "site")
    first = site.set("a", b"1", content_type="text/plain", extra={"own": 1})
    copy = site.link(site.artifact_id("a"), "b")
    assert (copy.content_type, copy.digest, copy.extra) == ("text/plain", first.digest, {"own": 1, "key": "b"})
    assert site.delete("a")
    assert site.get("b").content == b"1"
    assert site.link(store.store(b"2"), "c", extra={}, tags={"k": "v"}).extra == {"key": "c"}
    store.store_file(io.BytesIO(b"x" * 300_000), **site.keywords("d", if_absent=True))
    assert keys(site.entries()) == ["b", "c", "d"]


def test_what_makes_no_sense_is_refused(store) -> None:
    site, versions = Keyed(store, "site"), Versions(store, "site")
    for wrong in (
        lambda: Keyed(store, ""),
        lambda: site.set(None, b""),
        lambda: site.set("x" * 1025, b""),
        lambda: site.set("\ud800", b""),
        lambda: site.set("key", "text"),
        lambda: site.set("key", b"", extra={"key": "other"}),
        lambda: site.set("key", b"", run_id="other"),
        lambda: site.entries(1),
        lambda: site.entries(limit="1"),
        lambda: versions.add("key", b"", extra={"version": 1}),
        lambda: versions.add("key", b"", if_digest="0" * 64),
        lambda: versions.get("key", "1"),
        lambda: versions.get("key", True),
    ):
        with pytest.raises(InvalidArtifactError):
            wrong()
    assert store.list_all() == []
    for missing in (lambda: site.get("key", required=True), lambda: versions.get("key", required=True)):
        with pytest.raises(ArtifactNotFoundError, match="'key' in 'site'"):
            missing()
    with pytest.raises(InvalidArtifactError, match="AsyncKeyed"):
        Keyed(AsyncRedisArtifactStore("redis://localhost"), "site").get("key")


# Versions -----------------------------------------------------------------------------------------------------------


def test_versions_are_numbered(store) -> None:
    versions = Versions(store, "session")
    for n, content in enumerate([b"0", b"1", b"1"]):
        assert versions.add("key", content, tags={"n": str(n)}).extra == {"key": "key", "version": n}
    versions.add("other", b"x")
    assert [view.tags["n"] for view in versions.versions("key")] == ["0", "1", "2"]
    assert versions.get("key").metadata.extra["version"] == 2
    assert versions.get("key", 0).content == b"0"
    assert versions.get("key", 3) is versions.get("never") is None
    assert versions.keys() == ["key", "other"]
    assert versions.keys("o") == ["other"]
    assert (versions.delete("key"), versions.delete("key")) == (3, 0)
    assert versions.versions("key") == []
    assert versions.add("key", b"again").extra["version"] == 0


def test_no_version_is_skipped_or_given_twice(store) -> None:
    def add(_: int) -> int:
        return Versions(store, "session").add("key", b"the same").extra["version"]

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(add, range(12))) == list(range(12))


# The awaited face ---------------------------------------------------------------------------------------------------


def test_the_awaited_face_does_the_same(store, request, namespace) -> None:
    async def main(store) -> None:
        site, versions = AsyncKeyed(store, "site"), AsyncVersions(store, "site")
        view = await site.set("a/b", b"1")
        assert (await site.get("a/b", required=True)).metadata == await site.get_metadata("a/b") == view
        await site.link(view, "a/c")
        assert keys(await site.entries("a/", after="a/b")) == ["a/c"]
        assert await site.delete("a/b")
        added = await asyncio.gather(*(versions.add("key", b"x") for _ in range(3)))
        assert sorted(view.extra["version"] for view in added) == [0, 1, 2]
        assert (await versions.get("key")).metadata.extra["version"] == 2
        assert len(await versions.versions("key")) == 3
        assert await versions.keys() == ["key"]
        assert await versions.delete("key") == 3

    asyncio.run(main(store))  # in threads
    if isinstance(store, RedisArtifactStore):

        async def awaited() -> None:
            async with AsyncRedisArtifactStore(store._target.picklable(), namespace=namespace) as other:
                await main(other)

        store.delete_by_run("site")
        asyncio.run(awaited())


@pytest.mark.parametrize(("one", "other"), [(Keyed, AsyncKeyed), (Versions, AsyncVersions)])
def test_the_faces_agree(one, other) -> None:
    names = {name for name in vars(one) if name[0] != "_"}
    assert names == {name for name in vars(other) if name[0] != "_"}
    for name in names:
        assert inspect.signature(getattr(one, name)) == inspect.signature(getattr(other, name))


@pytest.mark.parametrize("extra", [0, False, "text", ["k"], {1, 2}, {"key": "mine"}, b"{}"])
def test_extra_that_is_none_is_refused(extra) -> None:
    store = InMemoryArtifactStore()
    with pytest.raises(InvalidArtifactError, match="extra must"):
        Keyed(store, "site").set("a", b"x", extra=extra)
    with pytest.raises(InvalidArtifactError, match="extra must"):
        asyncio.run(AsyncVersions(store, "site").add("a", b"x", extra=extra))
    assert store.list_all() == []


def test_what_makes_no_sense_is_named() -> None:
    store = InMemoryArtifactStore()
    with pytest.raises(InvalidArtifactError, match="collection must be a str"):
        Keyed(store, None)
    with pytest.raises(InvalidArtifactError, match="collection cannot be empty"):
        AsyncVersions(store, "")
    for name in ("run_id", "artifact_id"):
        with pytest.raises(InvalidArtifactError, match=f"{name} is"):
            Keyed(store, "site").set("a", b"x", **{name: "other"})
    versions = Versions(store, "site")
    versions.add("a", b"x")
    with pytest.raises(InvalidArtifactError, match="leave it out for the last"):
        versions.get("a", -1)
    with pytest.raises(ArtifactNotFoundError, match="version 7 of 'a'"):
        versions.get("a", 7, required=True)
    assert len(store.list_all()) == 1


def test_a_store_that_takes_no_version_is_not_asked_for_ever() -> None:
    store = InMemoryArtifactStore()
    versions = Versions(store, "site")
    for version in range(1001):
        store.store(b"x", artifact_id=versions.artifact_id("a", version))
    with pytest.raises(ArtifactConflictError, match="1,000 versions of 'a' from 0 on"):
        versions.add("a", b"x")
    store.store(b"x", artifact_id=versions.artifact_id("a", 1000), run_id="site", extra={"key": "a", "version": 1000})
    assert versions.add("a", b"x").extra["version"] == 1001
