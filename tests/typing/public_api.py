"""The public API as users write it; checked by mypy --strict, never run."""

import io
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

import redis
import redis.asyncio
from pydantic import BaseModel

from coatcheck import (
    ANONYMOUS,
    ANY,
    Artifact,
    ArtifactConflictError,
    ArtifactMetadata,
    ArtifactReader,
    ArtifactStore,
    AsyncArtifactReader,
    AsyncArtifactStore,
    AsyncRedisArtifactStore,
    CacheInfo,
    Event,
    FileArtifactStore,
    InMemoryArtifactStore,
    Lease,
    Payload,
    RedisArtifactStore,
    Removal,
    Run,
    RunStats,
    StoreStats,
    aopen_store,
    artifact_ref,
    foreign_id,
    get_artifact_id,
    is_artifact_ref,
    open_store,
    resolve_artifact,
)
from coatcheck import Page as ListPage
from coatcheck.doctor import Diagnosis, Finding, aexamine, examine
from coatcheck.keyed import AsyncKeyed, AsyncVersions, Keyed, Versions
from coatcheck.moving import MoveReport, acopy, aimport_run, copy, export_run, import_run
from coatcheck.offloading import OffloadingMapping, aoffload, aresolve, offload, offloads, resolve, resolves
from coatcheck.testing import afake_store, fake_store
from coatcheck.trees import (
    AsyncTree,
    Tree,
    TreeEntry,
    aopen_run,
    aopen_tree,
    astore_tree,
    open_run,
    open_tree,
    store_tree,
)
from coatcheck.testing.faults import Faults, inject
from coatcheck.values import aload_value, load_value, store_value
from coatcheck.watching.logs import LogEvents
from coatcheck.watching.opentelemetry import OpenTelemetryEvents
from coatcheck.watching.prometheus import PrometheusEvents


def blocking(store: ArtifactStore, value: object) -> None:
    assert_type(store.store(b"x", run_id="a", tags={"k": "v"}, ttl=timedelta(hours=1)), ArtifactMetadata)
    assert_type(store.store(bytearray(b"x"), content_type="text/plain", artifact_id="name", ttl=None), ArtifactMetadata)
    assert_type(store.store_text("x", content_type="text/html", encoding="latin-1", run_id="a"), ArtifactMetadata)
    assert_type(store.store_json({"x": 1}, tags={"k": "v"}, ttl=60), ArtifactMetadata)
    assert_type(store.store(b"x", artifact_id="name", if_absent=True, extra={"n": [1]}), ArtifactMetadata)
    assert_type(store.store_file("/tmp/x", artifact_id="name", if_digest="0" * 64, exact_ttl=True), ArtifactMetadata)
    assert_type(store.link("name", "other", run_id="a", ttl=60, if_absent=True), ArtifactMetadata)
    store.link("name", "other", artifact_id="third")  # type: ignore[misc]
    store.store(b"x", ttl="60")  # type: ignore[arg-type]
    store.store_json({}, content_type="text/plain")  # type: ignore[call-arg]
    assert_type(store.load("name"), Artifact | None)
    assert_type(store.load("name", run_id="a", required=True), Artifact)
    assert_type(store.get_metadata({"$artifact": "name"}, required=True), ArtifactMetadata)
    assert_type(store.open("name", required=True), ArtifactReader)
    assert_type(resolve_artifact({"$artifact": "name"}, store, required=True), Artifact)
    view = store.get_metadata("name", run_id="a", required=True)
    assert_type(store.load_many([view, view.ref, "name"]), list[Artifact | None])
    assert_type(store.delete(view), bool)
    assert_type(view.created, datetime)
    assert_type(store.load_text("name"), str | None)
    assert_type(store.load_many(["a", "b"]), list[Artifact | None])
    assert_type(store.store_many([b"a", Payload(b"b", tags={"k": "v"})], ttl=60), list[ArtifactMetadata])
    assert_type(store.list_by_run("a"), list[ArtifactMetadata])
    assert_type(store.search(tags={"k": "v"}, order="asc"), list[ArtifactMetadata])
    assert_type(store.page(content_type="image/*", tags={"k": ANY}, by="size"), ListPage[ArtifactMetadata])
    assert_type(store.page(after=store.page().next).items, list[ArtifactMetadata])
    assert_type(list(store.iter_artifacts(min_size=1, id_prefix="a")), list[ArtifactMetadata])
    assert_type(list(store.iter_run("a", run_prefix="a")), list[ArtifactMetadata])
    assert_type(list(store.iter_runs(prefix="a")), list[str])
    assert_type(store.page_runs(prefix="a", after=None), ListPage[str])
    assert_type(store.count(run_id="a", tags={"k": ANY}), int)
    assert_type(store.facets("content_type", min_size=1), dict[str | None, int])
    assert_type(store.stats(run_id="a"), StoreStats)
    assert_type(store.run_stats("a"), RunStats)
    assert_type(store.run_stats_many(["a"]), list[RunStats])
    assert_type(store.touch_run("a", 60) + store.expire_run("a", timedelta(days=1)), int)
    assert_type(store.delete_where(run_id="a", dry_run=False), Removal)
    assert_type(store.delete_where(run_id=ANONYMOUS), Removal)
    assert_type(store.expire_run(ANONYMOUS, 60) + store.count(run_id=ANONYMOUS), int)
    with store.run("a", ttl=60, keep=None) as run:
        assert_type(run, Run)
        assert_type(run.store_json({}, tags={"k": "v"}), ArtifactMetadata)
        assert_type(run.page(after=None), ListPage[ArtifactMetadata])
        assert_type(list(run.iter_artifacts(min_size=1)), list[ArtifactMetadata])
        assert_type(run.stats(), RunStats)
    store.page(colour="red")  # type: ignore[call-arg]
    store.page(by="name")  # type: ignore[arg-type]
    store.iter_run("a", run_id="a")  # type: ignore[misc]
    assert_type(store.leases("name"), list[Lease])
    assert_type(store.leases_many(["name"]), list[list[Lease]])
    assert_type(store.touch("name", 1.5, run_id="a"), bool)
    assert_type(store.update_metadata("name", run_id="a", tags={"k": "v"}, replace=True), ArtifactMetadata | None)
    assert_type(store.update_many([view], extra=lambda old: {**old, "n": 1}), list[ArtifactMetadata | None])
    store.update_metadata("name", tags=lambda old: None)  # type: ignore[arg-type]
    assert_type(store.stats(), StoreStats)
    assert_type(store.find_missing(["a"], ttl=60, run_id="a"), list[str])
    assert_type(store.delete_many(["a"]), list[bool])
    with open("/tmp/x", "rb") as file:
        assert_type(
            store.store_file(file, run_id="a", progress=lambda done, total: print(done, total)), ArtifactMetadata
        )
    assert_type(store.store_file("/tmp/x"), ArtifactMetadata)
    assert_type(store.store_file(Path("/tmp/x"), ttl=60), ArtifactMetadata)
    assert_type(store.load_range("name", -10), bytes | None)
    reader = store.open("name")
    assert_type(reader, ArtifactReader | None)
    if reader is not None:
        shutil.copyfileobj(io.BufferedReader(reader), io.BytesIO())
        assert_type(store.store_file(reader), ArtifactMetadata)
        assert_type(reader.read(10), bytes)
        assert_type(reader.metadata, ArtifactMetadata)
    if is_artifact_ref(value):
        assert_type(resolve_artifact(artifact_ref("name"), store), Artifact | None)
    assert_type(get_artifact_id({"$artifact": "name"}), str)


async def awaited(store: AsyncArtifactStore) -> None:
    assert_type(await store.store(b"x", run_id="a"), ArtifactMetadata)
    assert_type(await store.store_text("x", ttl=60), ArtifactMetadata)
    await store.store(b"x", runid="a")  # type: ignore[call-arg]
    assert_type(await store.link("name", "other", tags={}), ArtifactMetadata)
    try:
        await store.store(b"x", artifact_id="name", if_absent=True)
    except ArtifactConflictError as error:
        assert_type(error.metadata, ArtifactMetadata | None)
    assert_type(await store.load("name"), Artifact | None)
    assert_type(await store.load("name", required=True), Artifact)
    assert_type(await store.get_metadata("name", run_id="a", required=True), ArtifactMetadata)
    assert_type(await store.open("name", required=True), AsyncArtifactReader)
    assert_type(await store.delete_by_run("a"), int)
    assert_type(await store.update_metadata("name", extra={"n": [1]}), ArtifactMetadata | None)
    assert_type(await store.store_file("/tmp/x"), ArtifactMetadata)
    assert_type(await store.load_range("name", 1, 2), bytes | None)
    reader = await store.open("name")
    assert_type(reader, AsyncArtifactReader | None)
    if reader is not None:
        async with reader:
            assert_type(await reader.read(10), bytes)
            assert_type(reader.seek(0), int)
            async for chunk in reader:
                assert_type(chunk, bytes)
    async with await aopen_store("memory://") as other:
        assert_type(other, AsyncArtifactStore)


def construction() -> None:
    InMemoryArtifactStore(default_ttl=60)
    assert_type(FileArtifactStore("/tmp/x").content_path("a"), Path | None)
    RedisArtifactStore("redis://localhost", namespace="x", compression=None, verify="checksum")
    assert_type(RedisArtifactStore(cache_size=2**20, cache_dir="/tmp/x", cache_dir_size=2**30).cache_info(), CacheInfo)
    RedisArtifactStore(compression="zstd", compression_level=-1, compression_threshold=100)
    RedisArtifactStore(redis.Redis())
    RedisArtifactStore(partitions=64, ssl_ca_certs=Path("/tmp/ca.pem"), ssl_cert_reqs="required", retry_for=0.5)
    RedisArtifactStore(redis.RedisCluster(host="localhost"))
    RedisArtifactStore(redis.asyncio.Redis())  # type: ignore[arg-type]
    RedisArtifactStore(cache_size="3")  # type: ignore[arg-type]
    RedisArtifactStore(cachesize=3)  # type: ignore[call-arg]
    AsyncRedisArtifactStore(redis.asyncio.Redis(), default_ttl=timedelta(days=1))
    AsyncRedisArtifactStore(redis.asyncio.RedisCluster(host="localhost"), namespace="x")
    AsyncRedisArtifactStore(redis.Redis())  # type: ignore[arg-type]
    assert_type(fake_store(namespace="x", partitions=64), RedisArtifactStore)
    assert_type(afake_store(default_ttl=60), AsyncRedisArtifactStore)
    open_store("redis://localhost", durability="replica", namespace=None)
    open_store("redis://localhost", durability="tape")  # type: ignore[arg-type]
    with open_store() as store:
        blocking(store, {})


def listens(event: Event) -> None:
    assert_type(event.seconds, float)
    assert_type(event.error, BaseException | None)


def watching(store: RedisArtifactStore, other: AsyncArtifactStore) -> None:
    InMemoryArtifactStore(on_event=listens)
    FileArtifactStore("/tmp/x", on_event=LogEvents(slow=1))
    AsyncRedisArtifactStore(on_event=OpenTelemetryEvents())
    open_store("redis://localhost", on_event=PrometheusEvents())
    InMemoryArtifactStore(on_event="log")  # type: ignore[arg-type]
    with inject(store, lost_replies=0.1, latency=0.5) as faults:
        assert_type(faults, Faults)
    with inject(other, full=1, seed=2):
        pass


async def examined(store: RedisArtifactStore, other: AsyncRedisArtifactStore) -> None:
    assert_type(examine(store, thorough=True).findings, list[Finding])
    assert_type(await aexamine(other), Diagnosis)


def moved(store: ArtifactStore, other: AsyncArtifactStore) -> None:
    assert_type(
        copy(store, InMemoryArtifactStore(), run_id="a", progress=lambda report: print(report.bytes)), MoveReport
    )
    export_run(store, "a", Path("/tmp/a.tar"))
    with open("/tmp/a.tar", "rb") as file:
        assert_type(import_run(store, file, ttl=timedelta(days=1)).ok, bool)
    copy(other, store)  # type: ignore[arg-type]


async def awaited_moves(store: AsyncArtifactStore) -> None:
    assert_type(await acopy(store, store, verify=True), MoveReport)
    assert_type(await aimport_run(store, "/tmp/a.tar", run_id="b"), MoveReport)


class Inherited(ArtifactStore):
    """A store written against AbstractRuntime's contract: seven methods are enough, type checkers say what they lack."""

    def store(  # type: ignore[override]
        self,
        content: object,
        *,
        content_type: str = "application/octet-stream",
        run_id: str | None = None,
        tags: object = None,
        artifact_id: str | None = None,
        ttl: object = None,
    ) -> ArtifactMetadata:
        raise NotImplementedError

    def load(self, artifact_id: str) -> Artifact | None:  # type: ignore[override]
        return None

    def get_metadata(self, artifact_id: str) -> ArtifactMetadata | None:  # type: ignore[override]
        return None

    def exists(self, artifact_id: str) -> bool:  # type: ignore[override]
        return False

    def delete(self, artifact_id: str) -> bool:  # type: ignore[override]
        return False

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return []

    def list_all(self, *, limit: int = 1000) -> list[ArtifactMetadata]:
        return []


Inherited().search(run_id="a")


class Page(BaseModel):
    text: str


def values_by_type(store: ArtifactStore, own: RedisArtifactStore) -> None:
    assert_type(store_value(store, Page(text="x"), run_id="a", codec="json"), ArtifactMetadata)
    assert_type(load_value(store, "name", Page), Page)
    assert_type(load_value(own, "name", list[Page]), list[Page])
    load_value(store, "name").anything()
    state = offload({"page": Page(text="x")}, store, threshold=1000, preview=80, run_id=lambda: "a", ttl=60)
    assert_type(resolve(state, store, dict[str, Page], default=None), dict[str, Page])
    offload({}, store, treshold=1)  # type: ignore[call-arg]
    mapping = OffloadingMapping({}, store, threshold=1000, default=None)
    mapping["a"] = Page(text="x")


async def awaited_values(store: AsyncArtifactStore) -> None:
    assert_type(await aload_value(store, "name", Page), Page)
    assert_type(await aresolve(await aoffload([1], store), store, list[int]), list[int])
    offload([1], store)  # type: ignore[arg-type]

    @resolves(store)
    @offloads(store, threshold=1000)
    async def tool(page: Page, *, times: int = 1) -> str:
        return page.text * times

    await tool({"$artifact": "name"}, times=2)


def trees(store: ArtifactStore) -> None:
    view = store_tree("dir", store, skip=lambda path, reason: print(path, reason), run_id="a", ttl=timedelta(days=1))
    assert_type(view, ArtifactMetadata)
    store_tree(Path("dir"), store, ttl="1h")  # type: ignore[arg-type]
    assert_type(open_tree(view.ref, store), Tree)
    assert_type(open_run("a", store), Tree)
    assert_type(open_tree("id", store).entries, tuple[TreeEntry, ...])
    assert_type(open_tree("id", store).open("a/b"), ArtifactReader)
    open_tree("id", store).restore(Path("new"), progress=lambda done, total: print(done, total))


async def awaited_trees(store: AsyncArtifactStore) -> None:
    assert_type(await astore_tree("dir", store), ArtifactMetadata)
    assert_type(await aopen_tree("id", store), AsyncTree)
    assert_type(await aopen_run("a", store), AsyncTree)
    assert_type(await (await aopen_tree("id", store)).open("a/b"), AsyncArtifactReader)
    await (await aopen_tree("id", store)).restore("new")


def keys(store: ArtifactStore) -> None:
    site = Keyed(store, "site")
    assert_type(site.set("a", b"x", ttl=60, if_absent=True), ArtifactMetadata)
    assert_type(site.get("a"), Artifact | None)
    assert_type(site.get_metadata("a", required=True), ArtifactMetadata)
    assert_type(site.entries("a", limit=3), list[ArtifactMetadata])
    assert_type(store.store_file("/tmp/x", **site.keywords("a")), ArtifactMetadata)
    assert_type(Versions(store, "site").get("a", 3, required=True), Artifact)
    assert_type(foreign_id("a", 1, None), str)


async def awaited_keys(store: AsyncArtifactStore) -> None:
    assert_type(await AsyncKeyed(store, "site").link("name", "a"), ArtifactMetadata)
    assert_type(await AsyncVersions(store, "site").keys(), list[str])
