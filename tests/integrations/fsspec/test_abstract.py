"""fsspec's own tests of file systems, over `CoatcheckFileSystem`: on a server all, elsewhere some in turn."""

from __future__ import annotations

from collections.abc import Iterator

import fsspec.tests.abstract as theirs
import pytest

from coatcheck.integrations.fsspec import CoatcheckFileSystem

from ...sizes import in_turn


class Fixtures(theirs.AbstractFixtures):
    place: str

    @pytest.fixture
    def fs(self, request: pytest.FixtureRequest, namespace: str, tmp_path) -> Iterator[CoatcheckFileSystem]:
        if self.place in ("memory", "file"):
            options = {"url": "memory://" if self.place == "memory" else f"file://{tmp_path}/store"}
        else:
            options = {"url": request.getfixturevalue(self.place).url, "namespace": namespace}
        fs = CoatcheckFileSystem(**options, skip_instance_cache=True)
        yield fs
        fs.close()

    @pytest.fixture
    def fs_path(self) -> str:
        return "some/where"

    @pytest.fixture
    def fs_join(self):
        return lambda *parts: "/".join(parts)


class OnValkey(Fixtures):
    place = "valkey"


class OnCluster(Fixtures):
    place = "valkey_cluster"


class InFiles(Fixtures):
    place = "file"


class InMemory(Fixtures):
    place = "memory"


for number, kind in enumerate(("Copy", "Get", "Open", "Pipe", "Put")):
    for where in (OnValkey, *in_turn((OnCluster, InFiles, InMemory), number)):
        name = f"Test{kind}{where.__name__}"
        globals()[name] = type(name, (where, getattr(theirs, f"Abstract{kind}Tests")), {})
