"""An interrupt at any line of a call to a store in memory: what is listed can be loaded, and the call can be repeated."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck import InMemoryArtifactStore, Payload, compute_artifact_id
from coatcheck.backends import memory

OLD, NEW, PLAIN = b"old", b"new", b"plain"
PLAIN_ID = compute_artifact_id(PLAIN)
HERE = str(Path(memory.__file__).parent)

CALLS: dict[str, Callable[[InMemoryArtifactStore], object]] = {
    "acquire": lambda store: store.find_missing(["name", "other"], ttl=99, run_id="c"),
    "delete": lambda store: store.delete_many(["name", PLAIN_ID]),
    "delete by run": lambda store: store.delete_by_run("a"),
    "end a run": lambda store: store.expire_run("a", 50),
    "release": lambda store: store.release("name", "a"),
    "replace": lambda store: store.store(NEW, artifact_id="name", run_id="b", ttl=60),
    "store": lambda store: store.store(NEW, run_id="b", ttl=60),
    "store again": lambda store: store.store(PLAIN, run_id="b", ttl=60),
    "store many": lambda store: store.store_many([NEW, PLAIN, Payload(NEW, artifact_id="name")], run_id="b"),
    "touch": lambda store: store.touch("name", 60, "a"),
    "update": lambda store: store.update_many(["name", "other"], run_id="a", tags={"k": "v"}),
}


class Interrupt(BaseException):
    """As Ctrl-C is one."""


def interrupted(call: Callable[[], object], at: int) -> bool:
    """Call, with an interrupt at that line of the backend; whether it has as many."""
    passed = 0

    def trace(frame: Any, event: str, _: object) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        if event == "line":
            passed += 1
            if passed == at:
                raise Interrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def judge(store: InMemoryArtifactStore) -> None:
    for view in store.list_all(limit=0):
        assert store.load(view, required=True).content in (OLD, NEW, PLAIN)
        for lease in store.leases(view):
            assert view.artifact_id in {one.artifact_id for one in store.list_by_run(str(lease.run_id))}


@pytest.mark.parametrize("what", CALLS)
def test_an_interrupt_leaves_nothing_half_done(what) -> None:
    at, goes_on = 0, True
    while goes_on:
        at += 1
        with InMemoryArtifactStore() as store:
            store.store_many([PLAIN, *(Payload(OLD, artifact_id=name) for name in ("name", "other"))], run_id="a")
            goes_on = interrupted(lambda: CALLS[what](store), at)  # noqa: B023  # called at once
            judge(store)
            CALLS[what](store)
            judge(store)
            store.delete_many([view.artifact_id for view in store.list_all(limit=0)])
            store.gc(dry_run=False)
            assert store._operations.backend._contents == {}
    assert at > 10
