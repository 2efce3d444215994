"""A block of a run renews its leases while it lasts, and says so where it cannot."""

from __future__ import annotations

import asyncio
import copy
import logging
import multiprocessing
import pickle
import threading
from contextvars import ContextVar

import pytest

from coatcheck import (
    AsyncFileArtifactStore,
    AsyncInMemoryArtifactStore,
    FileArtifactStore,
    InMemoryArtifactStore,
    InvalidArtifactError,
    StoreUnavailableError,
    runs,
)
from coatcheck.testing import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(runs, "_BEATS", 60_000)  # every hundredth of a second


def test_leases_are_renewed_while_the_block_lasts() -> None:
    with InMemoryArtifactStore() as store, store.run("a", ttl=600) as run:
        first = run.store(b"1")
        eventually(lambda: run.list()[0].expires_at > first.expires_at)
        later = run.store(b"2", ttl=6000)
        eventually(lambda: run.stats().next_expiry > first.expires_at)
        assert run.stats().last_expiry == later.expires_at


def test_nobody_renews_after_the_block() -> None:
    with InMemoryArtifactStore() as store:
        with store.run("a", ttl=600) as run:
            run.store(b"1")
            with pytest.raises(InvalidArtifactError, match="renewed already"):
                run.__enter__()
        assert run._thread is None
        with run:  # it may be entered again
            pass


def test_a_block_that_was_never_entered_cannot_be_left() -> None:
    with InMemoryArtifactStore() as store, pytest.raises(InvalidArtifactError, match="run 'a' .* never entered"):
        store.run("a", ttl=600).__exit__(None, None, None)

    async def main() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            with pytest.raises(InvalidArtifactError, match="run 'a' .* never entered"):
                await store.run("a", ttl=600).__aexit__(None, None, None)

    asyncio.run(main())


def test_a_view_is_handed_on_from_within_its_block(tmp_path) -> None:
    with FileArtifactStore(tmp_path) as store, store.run("a", ttl=600, keep=6000) as run:
        for handed_on in copy.copy(run), pickle.loads(pickle.dumps(run)):
            with handed_on:
                view = handed_on.store(b"1")
        assert view.run_id == "a"
        assert threading.active_count() == 2  # that of the block goes on

    async def main() -> None:
        async with AsyncFileArtifactStore(tmp_path) as store, store.run("a", ttl=600) as run:
            async with pickle.loads(pickle.dumps(run)) as handed_on:
                assert len(await handed_on.list()) == 1

    asyncio.run(main())


def test_an_interrupted_beginning_leaves_nobody_who_renews(monkeypatch) -> None:
    start, begun = threading.Thread.start, []

    def interrupted(thread) -> None:
        start(thread)
        begun.append(thread)
        raise KeyboardInterrupt

    with InMemoryArtifactStore() as store:
        run = store.run("a", ttl=600)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(threading.Thread, "start", interrupted)
            run.__enter__()
        begun[0].join(10)
        assert not begun[0].is_alive()
        with run:  # it may be entered all the same
            pass


def test_a_forked_child_that_leaves_the_block_ends_nothing_of_its_parents(tmp_path) -> None:
    with FileArtifactStore(tmp_path) as store, store.run("a", keep=5) as run:
        stored = run.store(b"1", ttl=600)
        child = multiprocessing.get_context("fork").Process(target=run.__exit__, args=(None, None, None))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert run.stats().next_expiry >= stored.expires_at


def test_leases_are_renewed_within_the_context_of_the_block() -> None:
    request, seen = ContextVar("request"), []
    request.set("mine")
    with InMemoryArtifactStore() as store:
        run = store.run("a", ttl=600)
        run.touch = lambda ttl: seen.append(request.get(None))
        with run:
            eventually(lambda: seen)
    assert seen[0] == "mine"


def test_what_cannot_be_renewed_is_logged_and_tried_again(monkeypatch, caplog) -> None:
    with InMemoryArtifactStore() as store:
        run, tries = store.run("a", ttl=600), []

        def touch(ttl):
            tries.append(ttl)
            raise StoreUnavailableError("gone")

        monkeypatch.setattr(run, "touch", touch)
        with caplog.at_level(logging.WARNING), run:
            eventually(lambda: len(tries) > 2)
    assert "the leases of run 'a' could not be renewed" in caplog.text


def test_the_error_of_a_block_is_seen_where_keeping_fails_too(caplog) -> None:
    def gone(ttl):
        raise StoreUnavailableError("gone")

    with InMemoryArtifactStore() as store, caplog.at_level(logging.WARNING):
        with pytest.raises(ZeroDivisionError), store.run("a", keep=5) as run:
            run.expire = gone
            raise ZeroDivisionError
        assert "keep failed" in caplog.text
        with pytest.raises(StoreUnavailableError), store.run("a", keep=5) as run:
            run.expire = gone


def test_awaited_blocks_show_their_own_error_too(caplog) -> None:
    async def gone(ttl):
        raise StoreUnavailableError("gone")

    async def main(error) -> None:
        async with AsyncInMemoryArtifactStore() as store, store.run("a", keep=5) as run:
            run.expire = gone
            if error is not None:
                raise error

    with caplog.at_level(logging.WARNING):
        for error in (ZeroDivisionError(), asyncio.CancelledError()):
            with pytest.raises(type(error)):
                asyncio.run(main(error))
    assert caplog.text.count("keep failed") == 2
    with pytest.raises(StoreUnavailableError):
        asyncio.run(main(None))


def test_a_cancellation_at_the_end_of_a_block_is_not_lost() -> None:
    async def main() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            going = asyncio.Event()

            async def touch(ttl):
                going.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0.05)  # takes its time to end

            async def block() -> None:
                run = store.run("a", ttl=0.03)
                run.touch = touch
                async with run:
                    await going.wait()

            task = asyncio.create_task(block())
            await going.wait()
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_awaited_blocks_do_the_same(caplog) -> None:
    async def main() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            async with store.run("a", ttl=600, keep=50_000) as run:
                first = await run.store(b"1")
                while (await run.stats()).next_expiry <= first.expires_at:
                    await asyncio.sleep(0.01)
                with pytest.raises(InvalidArtifactError, match="renewed already"):
                    await run.__aenter__()
                renewed = await run.stats()
            kept = await run.stats()
            assert kept.next_expiry > renewed.next_expiry
            assert run._task is None
            assert [view.artifact_id async for view in run.iter_artifacts()] == [first.artifact_id]

            async def touch(ttl):
                tries.append(ttl)
                raise StoreUnavailableError("gone")

            tries = []
            failing = store.run("b", ttl=600)
            failing.touch = touch
            async with failing:
                while len(tries) < 3:
                    await asyncio.sleep(0.01)

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "the leases of run 'b' could not be renewed" in caplog.text
