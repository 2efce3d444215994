"""What is inherited from AbstractRuntime's store: names, defaults, return types."""

from __future__ import annotations

import hashlib
import json

import pytest

from ... import (
    ArtifactMetadata,
    ArtifactStore,
    artifact_ref,
    compute_artifact_id,
    get_artifact_id,
    is_artifact_ref,
    resolve_artifact,
)


class Inherited:
    def test_a_stored_artifact_is_loaded_byte_for_byte(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        loaded = store.load(stored.artifact_id)
        assert loaded is not None
        assert loaded.content == b"payload"
        assert type(loaded.content) is bytes
        assert loaded.metadata == stored

    def test_store_returns_complete_metadata(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", content_type="text/x", run_id="run", tags={"k": "v"})
        assert isinstance(stored, ArtifactMetadata)
        assert stored.artifact_id == hashlib.sha256(b"payload").hexdigest()[:32]
        assert stored.digest == hashlib.sha256(b"payload").hexdigest()
        assert (stored.content_type, stored.size_bytes, stored.run_id) == ("text/x", 7, "run")
        assert stored.tags == {"k": "v"}
        assert stored.expires_at is None
        assert stored.created_at.endswith("+00:00")

    def test_defaults_are_the_inherited_ones(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        assert (stored.content_type, stored.run_id, stored.tags) == ("application/octet-stream", None, {})

    def test_the_default_id_is_the_content_hash(self, store: ArtifactStore) -> None:
        assert store.store(b"x").artifact_id == compute_artifact_id(b"x")

    def test_an_explicit_id_is_kept(self, store: ArtifactStore) -> None:
        assert store.store(b"x", artifact_id="My_id-1").artifact_id == "My_id-1"
        loaded = store.load("My_id-1")
        assert loaded is not None
        assert loaded.content == b"x"

    @pytest.mark.parametrize("name", ["0123456789ABCDEF" * 2, "g" * 32, "0123456789abcdef" * 2 + "0", "0" * 31])
    def test_an_explicit_id_that_is_nearly_a_hash_is_kept(self, store: ArtifactStore, name: str) -> None:
        store.store(b"x" * 100_000, artifact_id=name)
        loaded = store.load(name)
        assert loaded is not None
        assert loaded.content == b"x" * 100_000

    @pytest.mark.parametrize("size", [0, 1, 511, 512, 1024, 65_535, 65_537, 300_000, 2_000_000])
    def test_any_size_round_trips(self, store: ArtifactStore, size: int) -> None:
        content = hashlib.shake_128(b"seed").digest(size)  # incompressible
        loaded = store.load(store.store(content).artifact_id)
        assert loaded is not None
        assert loaded.content == content

    @pytest.mark.parametrize("size", [1, 600, 100_000, 3_000_000])
    def test_compressible_content_round_trips(self, store: ArtifactStore, size: int) -> None:
        content = (b'{"key": "value", "n": 12345}, ' * (size // 30 + 1))[:size]
        loaded = store.load(store.store(content, content_type="application/json").artifact_id)
        assert loaded is not None
        assert loaded.content == content

    def test_bytearrays_and_memoryviews_are_content(self, store: ArtifactStore) -> None:
        a = store.store(bytearray(b"same"))
        b = store.store(memoryview(b"-same-")[1:5])
        assert a.artifact_id == b.artifact_id == compute_artifact_id(b"same")
        assert store.load_text(a.artifact_id) == "same"

    def test_metadata_without_content(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", run_id="run", tags={"k": "v"})
        assert store.get_metadata(stored.artifact_id) == stored

    def test_absent_artifacts_are_none_or_false(self, store: ArtifactStore) -> None:
        assert store.load("absent") is None
        assert store.load("0" * 32) is None
        assert store.get_metadata("absent") is None
        assert store.load_text("absent") is None
        assert store.load_json("absent") is None
        assert store.exists("absent") is False
        assert store.delete("absent") is False

    def test_exists(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        assert store.exists(stored.artifact_id) is True

    def test_delete_removes_the_artifact(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", run_id="run")
        assert store.delete(stored.artifact_id) is True
        assert store.load(stored.artifact_id) is None
        assert store.exists(stored.artifact_id) is False
        assert store.list_by_run("run") == []
        assert store.list_all() == []
        assert store.delete(stored.artifact_id) is False

    def test_a_deleted_artifact_can_be_stored_again(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        store.delete(stored.artifact_id)
        store.store(b"payload")
        assert store.load_text(stored.artifact_id) == "payload"

    def test_text_round_trips(self, store: ArtifactStore) -> None:
        stored = store.store_text("grüße 🎟", run_id="run", tags={"a": "b"})
        assert stored.content_type == "text/plain"
        assert store.load_text(stored.artifact_id) == "grüße 🎟"
        latin = store.store_text("grüße", encoding="latin-1", content_type="text/x-latin")
        assert store.load_text(latin.artifact_id, "latin-1") == "grüße"
        assert latin.content_type == "text/x-latin"

    def test_json_round_trips(self, store: ArtifactStore) -> None:
        value = {"list": [1, 2.5, None, True], "ü": "🎟"}
        stored = store.store_json(value, run_id="run", tags={"a": "b"})
        assert stored.content_type == "application/json"
        assert stored.tags == {"a": "b"}
        assert store.load_json(stored.artifact_id) == value
        loaded = store.load(stored.artifact_id)
        assert loaded is not None
        assert loaded.content == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        assert loaded.as_json() == value

    def test_tickets_resolve(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload")
        ticket = artifact_ref(stored.artifact_id)
        assert ticket == {"$artifact": stored.artifact_id}
        assert is_artifact_ref(ticket)
        assert not is_artifact_ref({"artifact": "x"})
        assert get_artifact_id(json.loads(json.dumps(ticket))) == stored.artifact_id
        resolved = resolve_artifact(ticket, store)
        assert resolved is not None
        assert resolved.content == b"payload"

    def test_metadata_survive_a_dict(self, store: ArtifactStore) -> None:
        stored = store.store(b"payload", run_id="run", tags={"k": "v"}, ttl=60)
        assert ArtifactMetadata.from_dict(json.loads(json.dumps(stored.to_dict()))) == stored

    def test_delete_by_run_counts_and_removes(self, store: ArtifactStore) -> None:
        for n in range(3):
            store.store(b"%d" % n, run_id="a")
        kept = store.store(b"other", run_id="b")
        assert store.delete_by_run("a") == 3
        assert store.list_by_run("a") == []
        assert store.delete_by_run("a") == 0
        assert store.exists(kept.artifact_id)

    def test_a_second_store_sees_the_same_artifacts(self, store: ArtifactStore, harness: object) -> None:
        stored = store.store(b"payload", run_id="run")
        other = harness.open()  # type: ignore[attr-defined]
        assert other.load_text(stored.artifact_id) == "payload"
        other.delete(stored.artifact_id)
        assert store.load(stored.artifact_id) is None

    def test_a_store_is_a_context_manager_and_unusable_once_closed(self, harness: object) -> None:
        with harness.open() as store:  # type: ignore[attr-defined]
            store.store(b"payload")
        store.close()
        with pytest.raises(Exception, match="closed"):
            store.load("absent")
