"""Giving up and removing: what others hold stays, and people are asked."""

from __future__ import annotations

import pytest

from coatcheck import ArtifactStore

from .running import ABSENT, Coatcheck, on_terminal


def test_touch_moves_the_end_of_a_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"x", run_id="r")

    assert coatcheck("touch", view.artifact_id, "--ttl", "1h", "--run", "r").code == 0
    [lease] = store.leases(view.artifact_id)
    assert lease.expires_at is not None
    assert coatcheck("touch", view.artifact_id, "--ttl", "never", "--run", "r").code == 0
    [lease] = store.leases(view.artifact_id)
    assert lease.expires_at is None
    assert coatcheck("touch", view.artifact_id, "--ttl", "1h").code == 1


def held(store: ArtifactStore) -> dict[str, list[str | None]]:
    return {view.artifact_id: [lease.run_id for lease in store.leases(view)] for view in store.list_all()}


def test_rm_gives_up_the_lease_of_nobody_and_says_who_else_has_one(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    mine, shared = store.store(b"mine"), store.store(b"shared", run_id="one")
    store.store(b"shared", run_id="two")

    assert coatcheck("rm", mine.artifact_id).stdout == "1 given up\n"
    failed = coatcheck("rm", shared.artifact_id)
    assert failed.code == 1
    assert "run one and 1 more has one: name a run by --run, or remove it --for-everyone" in failed.stderr
    assert held(store) == {shared.artifact_id: ["one", "two"]}


def test_rm_of_one_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    view = store.store(b"shared", run_id="one")
    store.store(b"shared", run_id="two")

    assert coatcheck("rm", view.artifact_id, "--run", "one").stdout == "1 given up\n"
    assert held(store) == {view.artifact_id: ["two"]}
    assert coatcheck("rm", view.artifact_id, "--run", "one").code == 1


def test_rm_for_everyone_removes_for_every_run(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    one, two = store.store(b"1", run_id="r"), store.store(b"2")

    words = [one.artifact_id, f'{{"$artifact": "{two.artifact_id}"}}', "--for-everyone"]
    assert coatcheck("rm", *words).stdout == "2 removed\n"
    assert store.list_all() == []


@pytest.mark.parametrize("whose", [[], ["--for-everyone"]])
def test_rm_says_what_was_missing_and_removes_the_rest(
    coatcheck: Coatcheck, store: ArtifactStore, whose: list[str]
) -> None:
    view = store.store(b"1")

    removed = coatcheck("rm", ABSENT, view.artifact_id, *whose)

    assert removed.code == 1
    assert ABSENT in removed.stderr
    assert store.list_all() == []


def test_rm_of_a_run_keeps_what_others_lease(coatcheck: Coatcheck, store: ArtifactStore) -> None:
    store.store(b"mine", run_id="one")
    shared = store.store(b"shared", run_id="one")
    store.store(b"shared", run_id="two")

    assert coatcheck("rm", "--run", "one").stdout == "2 given up\n"
    assert held(store) == {shared.artifact_id: ["two"]}
    assert coatcheck("rm", "--run", "one").code == 1


@pytest.mark.parametrize(
    "words",
    [[], ["--run", ""], ["--for-everyone"], ["--run", "r", "--for-everyone"], [ABSENT, "--run", "r", "--for-everyone"]],
)
def test_rm_of_everything_is_refused(coatcheck: Coatcheck, store: ArtifactStore, words: list[str]) -> None:
    store.store(b"x", run_id="r")

    assert coatcheck("rm", *words).code == 2
    assert len(store.list_all()) == 1


@pytest.mark.parametrize(
    ("words", "answer", "code", "left"),
    [([], b"n\n", 1, 1), ([], b"\n", 1, 1), ([], b"y\n", 0, 0), (["--yes"], b"", 0, 0)],
)
def test_a_terminal_is_asked_before_removal(
    store: ArtifactStore, url: str, words: list[str], answer: bytes, code: int, left: int
) -> None:
    view = store.store(b"x")

    assert on_terminal("--url", url, "rm", view.artifact_id, *words, answer=answer)[0] == code
    assert len(store.list_all()) == left


def test_people_are_asked_with_numbers(store: ArtifactStore, url: str) -> None:
    one, two = store.store(b"1" * 1500, run_id="r"), store.store(b"2" * 500, run_id="r")
    store.store(b"1" * 1500, run_id="s")

    def asked(*words: str) -> str:
        return on_terminal("rm", *words, "--url", url, answer=b"n\n")[1].decode()

    assert "Give up all that run r leases: 2 artifacts, 2.00 kB?" in asked("--run", "r")
    assert f"Give up the lease of run r on {two.artifact_id}, 500 B?" in asked(two.artifact_id[:8], "--run", "r")
    assert "Give up the lease without a run on 2 artifacts, 2.00 kB?" in asked(one.artifact_id, two.artifact_id)
    assert "Remove 2 artifacts, 2.00 kB, for everyone: 3 leases?" in asked(
        one.artifact_id, two.artifact_id, "--for-everyone"
    )
    assert len(store.list_all()) == 2
