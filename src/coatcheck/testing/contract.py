"""The contract suite: what every store does, whatever it is made of. Runs over both twins of each backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from ..store import ArtifactStore
from .cases import (
    acquiring,
    batches,
    conditions,
    counting,
    expiry,
    extras,
    finding,
    inherited,
    invalid,
    leases,
    lifetimes,
    links,
    listing,
    maintenance,
    naming,
    replacement,
    runs,
    streaming,
    updates,
)


class StoreHarness(Protocol):
    """One place for artifacts, and how tests get at it."""

    def open(self, **options: Any) -> ArtifactStore:
        """Another store on the same artifacts, as another worker would open it. Options: `default_ttl`."""

    def leftovers(self) -> list[str]:
        """Names of everything that lies there; empty when nothing is stored."""

    def close(self) -> None:
        """Close what was opened."""


class ArtifactStoreContract(
    inherited.Inherited,
    leases.Leases,
    expiry.Expiry,
    replacement.Replacement,
    conditions.Conditions,
    links.Links,
    extras.Extras,
    lifetimes.Lifetimes,
    updates.Updates,
    listing.Listing,
    finding.Finding,
    counting.Counting,
    runs.Runs,
    batches.Batches,
    acquiring.Acquiring,
    maintenance.Maintenance,
    streaming.Streaming,
    invalid.Invalid,
    naming.Naming,
):
    """All cases. A subclass provides the fixture `harness`."""

    @pytest.fixture
    def harness(self) -> StoreHarness:
        raise NotImplementedError("a contract suite needs a fixture named harness")

    @pytest.fixture
    def store(self, harness: StoreHarness) -> Iterator[ArtifactStore]:
        yield harness.open()
        harness.close()
