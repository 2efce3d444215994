"""The checker catches each way in which a history can be bad, and no other."""

from __future__ import annotations

import pytest

from .checker import ERROR, HALF, LOST, RISEN, STALE, UNCLEAR, WRONG, check
from .history import ABSENT, OK, UNKNOWN, Event, History

ID, ONE, OTHER = "id", "digest one", "digest other"


class Told(History):
    """A history told one call after another: each takes a second, the next begins a second later."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def tell(self, op, outcome=OK, *, run=None, id=ID, digest=None, listed=None, start=None, end=None):
        start = self.now if start is None else start
        end = start + 1 if end is None else end
        self.append(Event(op, run, id, digest, None if listed is None else frozenset(listed), start, end, outcome))
        self.now = max(self.now, end + 1)
        return self

    def store(self, outcome=OK, run="a", digest=ONE, **more):
        return self.tell("store", outcome, run=run, digest=digest, **more)

    def load(self, digest=ONE, **more):
        return self.tell("load", ABSENT if digest is None else OK, digest=digest, **more)

    def release(self, outcome=OK, run="a", **more):
        return self.tell("release", outcome, run=run, **more)

    def delete(self, outcome=OK, **more):
        return self.tell("delete", outcome, **more)

    def delete_by_run(self, outcome=OK, run="a", **more):
        return self.tell("delete_by_run", outcome, run=run, id=None, **more)

    def list_by_run(self, *listed, run="a", **more):
        return self.tell("list_by_run", run=run, id=None, listed=listed, **more)


def kinds(history: History) -> list[str]:
    return [problem.kind for problem in check(history).problems]


GOOD = {
    "stored, loaded": Told().store().load(),
    "never stored": Told().load(None),
    "released": Told().store().release().load(None),
    "deleted": Told().store().store(run="b").delete().load(None),
    "another run holds it": Told()
    .store()
    .store(run="b")
    .delete_by_run(run="a")
    .load()
    .list_by_run()
    .list_by_run(ID, run="b"),
    "unknown store, there": Told().store(UNKNOWN).load(),
    "unknown store, absent": Told().store(UNKNOWN).load(None),
    "unknown deletion, there": Told().store().delete(UNKNOWN).load(),
    "unknown deletion, absent": Told().store().delete(UNKNOWN).load(None),
    "while it is stored": Told().store(start=0, end=9).load(None, start=1).load(start=3),
    "while it is released": Told().store().release(start=10, end=19).load(start=11).load(None, start=13),
    "held all the while it is stored again": Told().store().store(UNKNOWN, start=10, end=19).load(start=11),
    "replaced": Told().store().store(digest=OTHER).load(OTHER).load(OTHER),
    "while it is replaced": Told().store().store(digest=OTHER, start=10, end=19).load(ONE, start=11).load(OTHER),
    "lease touched": Told().store().tell("touch", run="a"),
    "stored again after deletion": Told().store().delete().store().load(),
}

BAD = {
    "other bytes": (Told().store().load(OTHER), [WRONG]),
    "bytes of a later store": (Told().load(ONE).store(), [WRONG]),
    "content gone": (Told().store().tell("load", "ArtifactLostError"), [HALF]),
    "content damaged": (Told().store().tell("load", "CorruptArtifactError"), [HALF]),
    "no error for callers": (Told().store("StoreFullError"), [ERROR]),
    "lost": (Told().store().load(None), [LOST]),
    "lost, seen thrice": (Told().store().load(None).load(None).list_by_run(), [LOST]),
    "lost while stored again": (Told().store().store(UNKNOWN, start=10, end=19).load(None, start=11), [LOST]),
    "taken by another run": (Told().store().store(run="b").delete_by_run(run="a").load(None), [LOST]),
    "two leases lost": (Told().store().store(run="b").list_by_run(run="a").list_by_run(run="b"), [LOST, LOST]),
    "lease not listed": (Told().store().load().list_by_run(), [LOST]),
    "lease not found to touch": (Told().store().tell("touch", ABSENT, run="a"), [LOST]),
    "another run's lease listed": (Told().store().list_by_run(ID, run="b"), [WRONG]),
    "replacement lost": (Told().store().store(digest=OTHER).load(ONE).load(ONE), [LOST]),
    "risen after release": (Told().store().release().load(), [RISEN]),
    "risen after deletion": (Told().store().store(run="b").delete().load().load(), [RISEN]),
    "risen in the list": (Told().store().delete_by_run().list_by_run(ID), [RISEN]),
    "absent for a moment": (Told().store().load(None).load(), [STALE]),
    "absent, then stored again": (Told().store().load(None).store().load(), [UNCLEAR]),
    "absent, then deleted": (Told().store().load(None).delete().load(None), [UNCLEAR]),
    "there for a moment": (Told().store().delete().load().load(None), [STALE]),
    "old bytes for a moment": (Told().store().store(digest=OTHER).load(ONE).load(OTHER), [STALE]),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_good_history_is_good(history) -> None:
    assert kinds(history) == []


@pytest.mark.parametrize(("history", "wanted"), BAD.values(), ids=BAD)
def test_a_bad_history_is_caught(history, wanted) -> None:
    assert kinds(history) == wanted


def test_a_report_counts_and_says_how_long_a_caller_waited() -> None:
    report = check(Told().store().store(UNKNOWN, end=7.5).load())
    assert (report.operations, report.unknown) == (3, 1)
    assert str(report).endswith("longest wait 5.5 s")


def test_a_history_tells_about_one_artifact_in_json_lines() -> None:
    told = Told().store().store(id="other", run="b").delete_by_run().about(ID).splitlines()
    assert [line.split('"')[3] for line in told] == ["store", "delete_by_run"]
