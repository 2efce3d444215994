"""A state machine (Hypothesis): random operations of several clients, compared with a plain model after every step.

    class TestMachine(ArtifactStoreMachine.TestCase): ...

`machine_for(open_harness)` makes such a class for a backend of your own; needs `hypothesis`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ..arguments import Payload
from ..errors import ArtifactConflictError, ArtifactNotFoundError, InvalidArtifactError
from ..ids import compute_artifact_id, is_default_id
from ..search import ANY
from ..store import ArtifactStore
from .contract import StoreHarness
from .waiting import eventually

CONTENTS = [b"", b"a", b"b", b"text " * 300, hashlib.shake_128(b"large").digest(70_000)]
IDS = [None, "name", "other", "f" * 32, compute_artifact_id(b"a")]
NAMES = ["name", "other", "f" * 32, *map(compute_artifact_id, CONTENTS)]
RUNS = [None, "a", "b", "c:{*}"]
LONG = 3600.0


@dataclass
class Kept:
    """What the model knows of one artifact: its content, and per run the tags and whether the lease is for ever."""

    content: bytes
    leases: dict[str | None, tuple[dict[str, str], bool]] = field(default_factory=dict)


def content_number(n: int) -> bytes:
    """A content by its number, which is what failure reports show."""
    return CONTENTS[n]


contents = st.sampled_from(range(len(CONTENTS))).map(content_number)
ids = st.sampled_from(IDS)
explicit_ids = st.sampled_from(["name", "other"])
batches = st.lists(st.sampled_from(NAMES), max_size=4)
runs = st.sampled_from(RUNS)
ttls = st.sampled_from([None, LONG])
tags = st.dictionaries(st.sampled_from("kl"), st.text(max_size=3).filter(lambda text: text.isprintable()), max_size=2)
clients = st.integers(0, 1)


class ArtifactStoreMachine(RuleBasedStateMachine):
    """Operations and their meaning in the model."""

    def __init__(self, open_harness: Callable[[], StoreHarness]) -> None:
        super().__init__()
        self.harness = open_harness()
        self.clients = [self.harness.open(), self.harness.open()]
        self.model: dict[str, Kept] = {}

    def teardown(self) -> None:
        for artifact_id in list(self.model):
            assert self.clients[0].delete(artifact_id)
        assert self.clients[0].list_all() == []  # memory and file sweep what has expired when they list
        try:
            eventually(lambda: self.harness.leftovers() == [])  # indexes of what expired just now
        finally:
            self.harness.close()

    def _expected_store(
        self,
        content: bytes,
        artifact_id: str | None,
        run: str | None,
        given: dict[str, str],
        *,
        forever: bool,
        exact: bool = False,
    ) -> bool:
        """Apply a store to the model; False where it has to be refused."""
        name = compute_artifact_id(content) if artifact_id is None else artifact_id
        if is_default_id(name) and name != compute_artifact_id(content):
            return False
        kept = self.model.get(name)
        if kept is None or kept.content != content:
            kept = self.model[name] = Kept(content)
        was_forever = kept.leases.pop(run, ({}, False))[1]
        kept.leases[run] = (given, forever or (was_forever and not exact))  # at the end: the latest
        return True

    @initialize()
    def begin(self) -> None:
        assert self.clients[0].list_all() == []

    @rule(client=clients, content=contents, artifact_id=ids, run=runs, given=tags, ttl=ttls, exact=st.booleans())
    def store(
        self,
        client: int,
        content: bytes,
        artifact_id: str | None,
        run: str | None,
        given: dict[str, str],
        ttl: float | None,
        exact: bool,
    ) -> None:
        expected = self._expected_store(content, artifact_id, run, given, forever=ttl is None, exact=exact)
        store = self.clients[client]
        try:
            view = store.store(content, artifact_id=artifact_id, run_id=run, tags=given, ttl=ttl, exact_ttl=exact)
        except InvalidArtifactError:
            assert not expected
        else:
            assert expected
            assert (view.run_id, view.tags, view.size_bytes) == (run, given, len(content))

    @rule(client=clients, content=contents, artifact_id=explicit_ids, run=runs, met=st.booleans())
    def store_if(self, client: int, content: bytes, artifact_id: str, run: str | None, met: bool) -> None:
        kept = self.model.get(artifact_id)
        there = None if kept is None else hashlib.sha256(kept.content).hexdigest()
        if_absent, if_digest = (there is None, there) if met else (there is not None, None if there else "0" * 64)
        try:
            view = self.clients[client].store(
                content, artifact_id=artifact_id, run_id=run, ttl=None, if_absent=if_absent, if_digest=if_digest
            )
        except ArtifactConflictError as error:
            assert not met
            assert (error.metadata and error.metadata.digest) == there
        else:
            assert met
            assert self._expected_store(content, artifact_id, run, {}, forever=True)
            assert view.digest == hashlib.sha256(content).hexdigest()

    @rule(client=clients, source=st.sampled_from(NAMES), artifact_id=explicit_ids, run=runs, ttl=ttls)
    def link(self, client: int, source: str, artifact_id: str, run: str | None, ttl: float | None) -> None:
        kept = self.model.get(source)
        try:
            view = self.clients[client].link(source, artifact_id, run_id=run, ttl=ttl)
        except ArtifactNotFoundError:
            assert kept is None
        else:
            assert kept is not None
            given = list(kept.leases.values())[-1][0]
            assert self._expected_store(kept.content, artifact_id, run, given, forever=ttl is None)
            assert (view.run_id, view.tags, view.size_bytes) == (run, given, len(kept.content))

    @rule(client=clients, batch=st.lists(st.tuples(contents, st.sampled_from([None, "name", "other"])), max_size=4))
    def store_many(self, client: int, batch: list[tuple[bytes, str | None]]) -> None:
        before = deepcopy(self.model)
        if not all(self._expected_store(content, name, "a", {}, forever=True) for content, name in batch):
            self.model = before  # how far a batch gets before an item that the store refuses is not promised
            return
        payloads = [Payload(content, artifact_id=artifact_id) for content, artifact_id in batch]
        assert len(self.clients[client].store_many(payloads, run_id="a", ttl=None)) == len(batch)

    def _lease(self, artifact_id: str, run: str | None) -> tuple[dict[str, str], bool] | None:
        kept = self.model.get(artifact_id)
        return None if kept is None else kept.leases.get(run)

    def _end(self, artifact_id: str, run: str | None) -> None:
        kept = self.model[artifact_id]
        del kept.leases[run]
        if not kept.leases:
            del self.model[artifact_id]

    @rule(client=clients, content=contents, artifact_id=ids, run=runs)
    def release(self, client: int, content: bytes, artifact_id: str | None, run: str | None) -> None:
        name = artifact_id or compute_artifact_id(content)
        held = self._lease(name, run) is not None
        assert self.clients[client].release(name, run) is held
        if held:
            self._end(name, run)

    @rule(client=clients, names=batches, run=runs, given=tags)
    def update(self, client: int, names: list[str], run: str | None, given: dict[str, str]) -> None:
        views = self.clients[client].update_many(names, run_id=run, tags=given)
        assert [view is not None for view in views] == [self._lease(name, run) is not None for name in names]
        for name in names:
            lease = self._lease(name, run)
            if lease is not None:
                self.model[name].leases[run] = ({**lease[0], **given}, lease[1])

    @rule(client=clients, content=contents, artifact_id=ids, run=runs, ttl=ttls)
    def touch(self, client: int, content: bytes, artifact_id: str | None, run: str | None, ttl: float | None) -> None:
        name = artifact_id or compute_artifact_id(content)
        lease = self._lease(name, run)
        assert self.clients[client].touch(name, ttl, run) is (lease is not None)
        if lease is not None:
            self.model[name].leases[run] = (lease[0], ttl is None)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        """One lease runs out, by the store's own clock."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        run = data.draw(st.sampled_from(list(self.model[name].leases)))
        assert self.clients[0].touch(name, 0.001, run)
        eventually(lambda: run not in {lease.run_id for lease in self.clients[0].leases(name)})
        self._end(name, run)

    @rule(client=clients, content=contents, artifact_id=ids)
    def delete(self, client: int, content: bytes, artifact_id: str | None) -> None:
        name = artifact_id or compute_artifact_id(content)
        assert self.clients[client].delete(name) is (self.model.pop(name, None) is not None)

    @rule(client=clients, names=batches)
    def delete_many(self, client: int, names: list[str]) -> None:
        there = [name in self.model for name in names]
        for name in names:
            self.model.pop(name, None)
        assert self.clients[client].delete_many(names) == there

    @rule(client=clients, names=batches, run=runs, ttl=ttls)
    def acquire(self, client: int, names: list[str], run: str | None, ttl: float | None) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self.model]
        assert self.clients[client].find_missing(names, ttl=ttl, run_id=run) == missing
        for name in set(names) - set(missing):
            leases = self.model[name].leases
            given, forever = leases.get(run) or (list(leases.values())[-1][0], False)
            leases[run] = (given, forever or ttl is None)

    @rule(client=clients, run=runs.filter(lambda run: run is not None))
    def delete_by_run(self, client: int, run: str) -> None:
        mine = [name for name, kept in self.model.items() if run in kept.leases]
        assert self.clients[client].delete_by_run(run) == len(mine)
        for name in mine:
            self._end(name, run)

    @rule(client=clients, run=runs.filter(lambda run: run is not None), ttl=ttls, longer=st.booleans())
    def last(self, client: int, run: str, ttl: float | None, longer: bool) -> None:
        mine = [kept.leases for kept in self.model.values() if run in kept.leases]
        change = self.clients[client].touch_run if longer else self.clients[client].expire_run
        assert change(run, ttl) == len(mine)
        for leases in mine:
            given, forever = leases[run]
            leases[run] = given, ttl is None or (longer and forever)

    @rule(client=clients, run=runs)
    def delete_where(self, client: int, run: str | None) -> None:
        store = self.clients[client]
        if run is None:
            shown = {name: list(kept.leases.values())[-1] for name, kept in self.model.items()}
        else:
            shown = {name: kept.leases[run] for name, kept in self.model.items() if run in kept.leases}
        wanted = [name for name, (given, _) in shown.items() if "k" in given]
        assert store.count(run_id=run, tags={"k": ANY}) == len(wanted)
        assert store.delete_where(run_id=run, tags={"k": ANY}, dry_run=False).artifacts == len(wanted)
        for name in wanted:
            if run is None:
                del self.model[name]
            else:
                self._end(name, run)

    @rule(client=clients)
    def maintain(self, client: int) -> None:
        assert self.clients[client].gc(dry_run=False, grace=0).ok

    @invariant()
    def lists_agree(self) -> None:
        store = self.clients[0]
        assert sorted(view.artifact_id for view in store.iter_artifacts()) == sorted(self.model)
        assert sorted(view.artifact_id for view in store.page().items) == sorted(self.model)
        assert store.count() == len(self.model)
        held = {run for kept in self.model.values() for run in kept.leases if run is not None}
        assert set(store.list_runs()) == held
        for run in filter(None, RUNS):
            expected = {n: kept.leases[run][0] for n, kept in self.model.items() if run in kept.leases}
            assert {view.artifact_id: view.tags for view in store.list_by_run(run)} == expected

    @invariant()
    def artifacts_agree(self) -> None:
        store = self.clients[1]
        problems = store.check(read_data=True).problems
        assert problems == [], problems
        for name, loaded in zip(NAMES, store.load_many(NAMES), strict=True):
            kept = self.model.get(name)
            assert (loaded is None) is (kept is None)
            if loaded is not None and kept is not None:
                self._artifact_agrees(store, name, kept, loaded.content, loaded.metadata.tags)

    @staticmethod
    def _artifact_agrees(store: ArtifactStore, name: str, kept: Kept, content: bytes, latest: dict[str, str]) -> None:
        assert content == kept.content
        assert latest == list(kept.leases.values())[-1][0]
        found = {lease.run_id: (lease.tags, lease.expires_at is None) for lease in store.leases(name)}
        assert found == kept.leases
        for run, (tags, _) in kept.leases.items():
            view = store.get_metadata(name, run_id=run)
            assert view is not None
            assert run is None or (view.run_id, view.tags) == (run, tags)


def machine_for(open_harness: Callable[[], StoreHarness]) -> type[ArtifactStoreMachine]:
    """A machine over the stores that `open_harness` makes, each time empty."""

    class Machine(ArtifactStoreMachine):
        def __init__(self) -> None:
            super().__init__(open_harness)

    return Machine
