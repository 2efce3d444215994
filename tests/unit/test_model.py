"""What stores return, as JSON and as text."""

from __future__ import annotations

import pytest
import redis
import redis.asyncio
import coatcheck
from coatcheck import (
    Artifact,
    ArtifactError,
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    AsyncRedisArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    RedisArtifactStore,
)
from coatcheck.model import format_time, parse_time


@pytest.fixture
def artifact() -> Artifact:
    store = InMemoryArtifactStore()
    return store.load(store.store(bytes(range(256)), run_id="a", tags={"k": "v"}, ttl=60).artifact_id)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_reprs_of_stores_say_where_and_show_no_password(asynchronous, tmp_path) -> None:
    memory, file, on_redis = (
        (AsyncInMemoryArtifactStore, AsyncFileArtifactStore, AsyncRedisArtifactStore)
        if asynchronous
        else (InMemoryArtifactStore, FileArtifactStore, RedisArtifactStore)
    )
    assert repr(memory()) == f"{memory.__name__}()"
    assert repr(file(tmp_path)) == f"{file.__name__}('{tmp_path}')"
    url = "redis://me:secret@127.0.0.1:1/0?client_name=x"
    assert repr(on_redis(url, namespace="n")) == f"{on_redis.__name__}('redis://***@127.0.0.1:1/0?…', namespace='n')"
    client = redis.asyncio.Redis(password="secret") if asynchronous else redis.Redis(password="secret")
    assert repr(on_redis(client)) == f"{on_redis.__name__}(<Redis>, namespace='coatcheck')"


def test_every_error_says_whether_repeating_may_help() -> None:
    exported = [getattr(coatcheck, name) for name in coatcheck.__all__]
    errors = [one for one in exported if isinstance(one, type) and issubclass(one, ArtifactError)]
    assert {error.__name__ for error in errors if error.transient} == {
        "StoreFullError",
        "StoreUnavailableError",
        "AmbiguousWriteError",
    }


def test_binary_content_survives_json(artifact) -> None:
    assert Artifact.model_validate_json(artifact.model_dump_json()) == artifact


@pytest.mark.parametrize("time", [0, 1, 999_999, 1_000_000, 1_790_000_000_123_456, 253_402_300_799_999_999])
def test_times_are_text_and_back(time) -> None:
    assert parse_time(format_time(time)) == time
    assert parse_time(format_time(time).removesuffix("+00:00")) == time  # no zone means UTC
