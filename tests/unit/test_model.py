"""What stores return, as JSON and as text."""

from __future__ import annotations

import pytest
from coatcheck import Artifact, InMemoryArtifactStore


@pytest.fixture
def artifact() -> Artifact:
    store = InMemoryArtifactStore()
    return store.load(store.store(bytes(range(256)), run_id="a", tags={"k": "v"}, ttl=60).artifact_id)


def test_binary_content_survives_json(artifact) -> None:
    assert Artifact.model_validate_json(artifact.model_dump_json()) == artifact
