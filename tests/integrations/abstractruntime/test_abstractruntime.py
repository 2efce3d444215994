"""`RuntimeArtifactStore`: what it returns is what AbstractRuntime's own stores return, and what it promises beyond."""

from __future__ import annotations

import inspect
import io
import multiprocessing
import pickle
import wave
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import abstractruntime
import abstractruntime.storage.artifacts as ar
import pytest
from abstractruntime import Effect, EffectType, RunStatus, StepPlan, WorkflowSpec, create_scheduled_runtime
from redis import Redis

from coatcheck import CorruptArtifactError, FileArtifactStore, InMemoryArtifactStore, open_store
from coatcheck.integrations.abstractruntime import RuntimeArtifactStore
from coatcheck.testing import eventually

from ...snippets import DOCS, run_snippets


def wav() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(b"\0\0" * 800)
    return file.getvalue()


@pytest.fixture(params=["memory", "file", "valkey", "valkey_cluster"])
def inner(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator:
    """A coatcheck store of each kind."""
    if request.param == "memory":
        url = "memory://"
    elif request.param == "file":
        url = f"file://{tmp_path}"
    else:
        url = request.getfixturevalue(request.param).url
    with open_store(url, namespace=None if url == "memory://" else namespace) as inner:
        yield inner


@pytest.fixture
def store(inner) -> RuntimeArtifactStore:
    return RuntimeArtifactStore(inner)


CALLS = [
    {"content": b"plain"},
    {"content": b"plain", "run_id": "run-1", "tags": {"a": "b"}},
    {"content": b"plain", "run_id": " \t"},
    {"content": b"{}", "content_type": "application/json", "artifact_id": "mine", "run_id": "run-1"},
    {"content": b"x", "tags": {" a ": 1, "none": None, "": "no name", "shared": "true", "$x": "ü\n"}},
    {"content": b"x", "run_id": "r", "metadata": {"a": [1, {"b": None}], "set": {1}, 3: "three"}},
    {"content": b"x", "run_id": "r", "tags": {"session_id": "s", "modality": "voice", "task": "tts", "source": "mic"}},
    {
        "content": b"x",
        "run_id": "r",
        "descriptor": {"semantic_kind": "Evidence", "workflow_id": "w", "generation": {"p": 1}},
    },
    {"content": b"x", "run_id": "r", "descriptor": ar.ArtifactDescriptor(task="code", source_refs=[{"a": "b"}])},
    {"content": wav(), "run_id": "r", "content_type": "audio/wav", "tags": {"modality": "music"}},
    {"content": b"a film", "run_id": "r", "content_type": "video/mp4"},
]


def test_every_method_takes_what_theirs_take() -> None:
    for name, theirs in inspect.getmembers(ar.ArtifactStore, inspect.isfunction):
        if not name.startswith("_"):
            expected = inspect.signature(theirs).parameters.values()
            ours = inspect.signature(getattr(RuntimeArtifactStore, name)).parameters
            for parameter in expected:
                assert (ours[parameter.name].kind, ours[parameter.name].default) == (parameter.kind, parameter.default)


@pytest.mark.parametrize("call", CALLS)
def test_what_is_returned_is_what_their_own_store_returns(store, call: dict) -> None:
    expected = ar.InMemoryArtifactStore().store(**call).to_dict()
    if not (expected["run_id"] or "").strip():
        expected["run_id"] = None
        expected["descriptor"]["provenance"].pop("run_id", None)
    made = store.store(**call)
    for shown in (made, store.get_metadata(made.artifact_id), store.load(made.artifact_id).metadata, *store.list_all()):
        assert type(shown) is ar.ArtifactMetadata
        assert {**shown.to_dict(), "created_at": ""} == {**expected, "created_at": ""}
        assert ar.ArtifactMetadata.from_dict(shown.to_dict()).to_dict() == shown.to_dict()
    loaded = store.load(made.artifact_id)
    assert (type(loaded), type(loaded.content), loaded.content) == (ar.Artifact, bytes, call["content"])


def test_nothing_is_aliased(store) -> None:
    made = store.store(b"x", tags={"a": "b"}, metadata={"c": {"d": "e"}})
    made.tags["a"] = made.metadata["c"]["d"] = "changed"
    again = store.get_metadata(made.artifact_id)
    assert (again.tags, again.metadata) == ({"a": "b"}, {"c": {"d": "e"}})


def test_what_another_run_stores_changes_nothing_and_content_is_kept_once(store, inner) -> None:
    first = store.store(b"shared" * 100, run_id="run-0", tags={"of": "0"})
    others = [store.store(b"shared" * 100, run_id=f"run-{i}", tags={"of": str(i)}) for i in range(1, 30)]
    assert len({first.artifact_id, *(other.artifact_id for other in others)}) == 30
    if "cluster" not in repr(inner):  # there, once in each partition
        assert inner.stats().contents == 1
    for i in range(1, 30):
        assert store.delete_by_run(f"run-{i}") == 1
    assert store.get_metadata(first.artifact_id).to_dict() == first.to_dict()
    assert store.load(first.artifact_id).content == b"shared" * 100
    assert store.delete(first.artifact_id)
    assert (inner.stats().artifacts, inner.stats().contents) == (0, 0)


def test_a_run_that_stores_again_renews_what_it_has(store) -> None:
    first = store.store(b"x", run_id="r", tags={"n": "1"}, metadata={"m": 1})
    second = store.store(b"x", run_id="r", tags={"n": "2"})
    assert second.artifact_id == first.artifact_id
    assert [(shown.tags, shown.metadata) for shown in store.list_by_run("r")] == [({"n": "2"}, {})]


def test_crafted_content_does_not_take_over_an_id(store) -> None:
    honest = store.store(b"X", run_id="run-1")
    with pytest.raises(ValueError, match="hash of other content"):
        store.store(b"run-1\0X")
    with pytest.raises(ValueError, match="hash of other content"):
        store.store(b"Y", artifact_id=honest.artifact_id)
    assert store.load(honest.artifact_id).content == b"X"


def test_an_explicit_id_is_replaced(store) -> None:
    store.store(b"one", artifact_id="latest", run_id="r")
    store.store(b"two", artifact_id="latest", run_id="r")
    assert store.load("latest").content == b"two"
    assert [shown.artifact_id for shown in store.list_all()] == ["latest"]


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_a_blank_run_is_nobody_and_never_everybody(store, blank: str | None) -> None:
    kept = store.store(b"kept", run_id="r")
    store.store(b"of nobody", run_id=blank)
    assert store.list_by_run(blank) == []
    with pytest.raises(ValueError, match="run_id is required"):
        store.delete_by_run(blank)
    assert store.exists(kept.artifact_id)
    if blank is not None:
        assert store.search(run_id=blank) == []


@pytest.mark.parametrize("bad", ["../x", "a/b", "abc\n", "ä", "a b"])
@pytest.mark.parametrize("method", ["load", "get_metadata", "exists", "delete", "content_path", "store"])
def test_bad_ids_are_told_in_their_words(store, method: str, bad: str) -> None:
    call = {"store": lambda i: store.store(b"x", artifact_id=i)}.get(method) or getattr(store, method)
    with pytest.raises(ValueError, match="Invalid artifact_id"):
        call(bad)
    with pytest.raises(ValueError, match="cannot be empty"):
        call("")
    assert store.list_all() == []


def test_finding(store) -> None:
    a = store.store(b"a", run_id="r", tags={"session_id": "s", "k": "v"}, content_type="text/plain")
    b = store.store(b"b", run_id="r", descriptor={"session_id": "s", "semantic_kind": "evidence"})
    c = store.store(b"c", run_id="q", tags={"shared": "true"}, content_type="image/png")
    ids = [one.artifact_id for one in (a, b, c)]

    def found(**filters) -> list[str]:
        return [shown.artifact_id for shown in store.search(**filters)]

    assert found() == found(session_id="", content_type=" ", tags={}) == ids[::-1]
    assert found(order="ASC") == ids
    assert found(session_id="s", order="asc") == ids[:2]
    assert found(run_id="r", semantic_kind="EVIDENCE") == [ids[1]]
    assert found(modality="image") == found(render_kind="Image") == [ids[2]]
    assert found(tags={"k": "v"}) == found(content_type="text/plain") == [ids[0]]
    assert found(limit=1, offset=1) == [ids[1]]
    assert found(created_after=b.created_at, order="asc") == ids[1:]
    assert found(created_before=b.created_at.replace("+00:00", "Z"), order="asc") == ids[:2]
    assert [one.artifact_id for one in store.list_session_candidates("s", owner_run_id="q")] == [ids[2], ids[0]]
    assert store.count(run_id="r") == 2
    assert store.facet_counts("run_id") == {"r": 2, "q": 1}
    figures = store.stats(facets=["tag:k"], run_id="r")
    assert (figures["total"], figures["total_bytes"], figures["facets"]) == (2, 2, {"tag:k": {"(none)": 1, "v": 1}})
    assert [shown.artifact_id for shown in store.list_all(limit=2)] == ids[:0:-1]
    with pytest.raises(TypeError):
        store.search(colour="red")


def test_a_session_is_found_by_what_the_descriptor_says(store) -> None:
    tagged = store.store(b"tagged", run_id="r", tags={"session_id": " s "})
    said = store.store(b"said", run_id="r", tags={"session_id": "s"}, descriptor={"session_id": "t"})

    def found(session: str, **filters) -> list[str]:
        return [shown.artifact_id for shown in store.search(session_id=session, **filters)]

    assert (found("s"), found("t")) == ([tagged.artifact_id], [said.artifact_id])
    assert found("s", tags={"session_id": " s "}) == [tagged.artifact_id]
    assert found("t", tags={"session_id": "t"}) == found("t", tags={"session_id": " s "}) == []
    assert store.get_metadata(tagged.artifact_id).tags == {"session_id": " s "}
    store.update_metadata(tagged.artifact_id, descriptor={"session_id": "u"})
    store.update_metadata(said.artifact_id, tags={"session_id": "t"}, replace_tags=True)
    assert (found("s"), found("t"), found("u")) == ([], [said.artifact_id], [tagged.artifact_id])
    assert store.get_metadata(said.artifact_id).tags == {"session_id": "t"}


def test_sessions_have_an_index_on_redis(valkey, namespace: str) -> None:
    with RuntimeArtifactStore(valkey.url, namespace=namespace) as store:
        store.store(b"x", run_id="r", tags={"session_id": "s", "shared": "yes", "other": "o"})
        with Redis.from_url(valkey.url) as redis:
            indexes = {*redis.scan_iter(f"{namespace}:labelled:*:created")}
        assert len(indexes) == 2
        assert [len(store.search(session_id="s")), len(store.list_session_candidates("t"))] == [1, 1]
        store.delete_by_run("r")


UPDATES = [
    {"tags": {"b": "2", "session_id": "s"}},
    {"tags": {"b": "2"}, "replace_tags": True, "metadata": {"n": 2}},
    {"metadata": {"n": {"m": 3}}, "replace_metadata": True},
    {"descriptor": {"workflow_id": "w", "media": {"duration_s": 9}}},
    {"descriptor": ar.ArtifactDescriptor(semantic_kind="voice"), "tags": {"task": "tts"}},
]


@pytest.mark.parametrize("update", UPDATES)
def test_an_update_is_what_their_own_store_makes_of_it(store, inner, update: dict) -> None:
    call = {"content": wav(), "content_type": "audio/wav", "run_id": "r", "tags": {"a": "1"}, "metadata": {"m": 1}}
    theirs = ar.InMemoryArtifactStore()
    made, expected = store.store(**call), theirs.store(**call)
    before = inner.leases(f"ar-{made.artifact_id}")[0]
    for change in (update, {"tags": {"again": "yes"}}):
        changed, wanted = (one.update_metadata(made.artifact_id, **change) for one in (store, theirs))
        assert {**changed.to_dict(), "created_at": ""} == {**wanted.to_dict(), "created_at": ""}
        assert store.get_metadata(made.artifact_id).to_dict() == changed.to_dict()
    after = inner.leases(f"ar-{made.artifact_id}")[0]
    assert (after.created_at, after.expires_at) == (before.created_at, before.expires_at)
    access = {"action": "Preview", "actor_id": "me", "at": "2026-06-06T00:00:00+00:00"}
    counted, wanted = (one.record_access(expected.artifact_id, **access) for one in (store, theirs))
    assert {**counted.to_dict(), "created_at": ""} == {**wanted.to_dict(), "created_at": ""}


def test_what_is_not_there_is_not_updated(store) -> None:
    assert store.update_metadata("absent", tags={"a": "b"}) is None
    assert store.record_access("absent") is None
    with pytest.raises(TypeError, match="colour"):
        store.update_metadata("absent", colour="red")
    assert store.list_all() == []


def test_a_store_of_the_same_begins_anew(store) -> None:
    made = store.store(b"x", run_id="r")
    assert store.record_access(made.artifact_id).access.access_count == 1
    assert store.store(b"x", run_id="r").access.access_count == 0


def test_another_runs_update_of_the_same_bytes_is_not_seen(store) -> None:
    mine, other = (store.store(b"x", run_id=run) for run in ("mine", "other"))
    store.update_metadata(other.artifact_id, tags={"a": "b"})
    store.record_access(other.artifact_id)
    assert store.get_metadata(mine.artifact_id).to_dict() == mine.to_dict()


def test_what_others_keep_beside_the_tags_stays(store, inner) -> None:
    inner.store(b"x", artifact_id="ar-both", extra={"other": {"kept": True}})
    store.update_metadata("both", metadata={"n": 1})
    store.update_metadata("both", metadata={}, replace_metadata=True)
    assert inner.get_metadata("ar-both").extra == {"other": {"kept": True}}


def test_threads_lose_no_update(store) -> None:
    made = store.store(b"x", run_id="r")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: store.record_access(made.artifact_id, action="open"), range(40)))
    assert store.get_metadata(made.artifact_id).access.actions == {"open": 40}


def count_twenty(store: RuntimeArtifactStore, artifact_id: str) -> None:
    with store:
        for _ in range(20):
            store.record_access(artifact_id, action="open")


@pytest.mark.parametrize("place", ["file", "valkey"])
def test_processes_lose_no_update(place: str, tmp_path: Path, namespace: str, valkey) -> None:
    url = f"file://{tmp_path}" if place == "file" else valkey.url
    with RuntimeArtifactStore(url, namespace=namespace) as store:
        made = store.store(b"x", run_id="r")
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=count_twenty, args=(store, made.artifact_id)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            worker.close()
        assert store.get_metadata(made.artifact_id).access.access_count == 60


def test_content_has_a_path_where_it_is_a_file(store, inner) -> None:
    made = store.store(b"content", run_id="r")
    if isinstance(inner, FileArtifactStore):
        assert store.content_path(made.artifact_id).read_bytes() == b"content"
        assert store._content_path(made.artifact_id) == store.content_path(made.artifact_id)
    else:
        assert store.content_path(made.artifact_id) is None
    assert store.content_path("absent") is None


def test_a_directory_that_abstractruntime_wrote(tmp_path: Path) -> None:
    theirs = ar.FileArtifactStore(tmp_path)
    before = theirs.store(b"before", run_id="r", tags={"a": "b"})
    explicit = theirs.store(b"named", artifact_id="named")
    with RuntimeArtifactStore(f"file://{tmp_path}") as store:
        assert store.load(before.artifact_id).content == b"before"
        assert store.get_metadata(before.artifact_id).tags == {"a": "b"}
        after = store.store(b"after", run_id="r")
        assert {shown.artifact_id for shown in store.list_by_run("r")} == {before.artifact_id, after.artifact_id}
        again = store.store(b"before", run_id="r", tags={"a": "c"})
        assert again.artifact_id == before.artifact_id
        assert [s.tags for s in store.list_by_run("r") if s.artifact_id == before.artifact_id] == [{"a": "c"}]
        assert store.delete("named")
        assert not store.exists(explicit.artifact_id)
        assert store.delete(before.artifact_id)
        assert store.get_metadata(before.artifact_id) is None


def test_gc_says_what_there_is(store) -> None:
    store.store(b"x", run_id="r")
    report = store.gc()
    assert report == {
        "dry_run": True,
        "blobs_total": 1,
        "blobs_referenced": 1,
        "blobs_deleted": 0,
        "bytes_reclaimed": 0,
        "errors": [],
    }


def test_a_later_version_is_told(store, inner) -> None:
    inner.store(b"x", artifact_id="ar-later", extra={"abstractruntime": {"version": 2}})
    with pytest.raises(CorruptArtifactError, match="ar-later .* version 2; .* upgrade"):
        store.get_metadata("later")


def test_what_is_nothing_special_costs_no_byte(store, inner) -> None:
    store.store(b"x", run_id="r", tags={"session_id": "s"})
    assert inner.list_all()[0].extra == {}


def test_lifetimes(valkey, namespace: str) -> None:
    with RuntimeArtifactStore(valkey.url, namespace=namespace, default_ttl=0.05) as store:
        made = store.store(b"brief", run_id="r")
        eventually(lambda: not store.exists(made.artifact_id))


def test_it_is_pickled_and_closed_as_the_store_below(tmp_path: Path) -> None:
    with RuntimeArtifactStore(f"file://{tmp_path}") as store:
        made = store.store(b"x", run_id="r")
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.load(made.artifact_id).content == b"x"
    with InMemoryArtifactStore() as given:
        RuntimeArtifactStore(given).close()
        given.store(b"still open")


def test_a_run_waits_and_is_resumed_by_another_runtime(store) -> None:
    """The report that a node stored is there when somebody else goes on."""

    def write(run, context) -> StepPlan:
        made = store.store_text("report " * 1000, run_id=run.run_id)
        run.vars["report"] = ar.artifact_ref(made.artifact_id)
        question = {"prompt": "publish?"}
        effect = Effect(type=EffectType.ASK_USER, payload=question, result_key="answer")
        return StepPlan(node_id="write", effect=effect, next_node="publish")

    def publish(run, context) -> StepPlan:
        report = ar.resolve_artifact(run.vars["report"], store)
        return StepPlan(node_id="publish", complete_output={"words": len(report.as_text().split())})

    workflow = WorkflowSpec(workflow_id="w", entry_node="write", nodes={"write": write, "publish": publish})
    runs, ledger = abstractruntime.InMemoryRunStore(), abstractruntime.InMemoryLedgerStore()
    options = {"run_store": runs, "ledger_store": ledger, "artifact_store": store, "auto_start": False}
    first, second = (create_scheduled_runtime(workflows=[workflow], **options) for _ in range(2))
    run_id, state = first.run(workflow)
    assert state.status is RunStatus.WAITING
    state = second.respond(run_id, {"response": "yes"})
    assert (state.status, state.output) == (RunStatus.COMPLETED, {"words": 1000})
    assert [shown.run_id for shown in store.list_all()] == [run_id]


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "abstractruntime.md")
