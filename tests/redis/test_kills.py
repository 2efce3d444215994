"""Servers killed under several writers. More of it in `make soak`."""

from __future__ import annotations

import threading
import time

import pytest

from coatcheck import RedisArtifactStore, StoreUnavailableError
from coatcheck.testing import ENGINES, Server

from ..conftest import require
from ..sizes import CYCLES, each_in_turn

GRACE = 2.0  # seconds of acknowledged stores that everysec may lose


class Writer(threading.Thread):
    """Stores different contents until it is told to stop, and remembers what was acknowledged when."""

    def __init__(self, url: str, number: int, stop: threading.Event) -> None:
        super().__init__()
        self.url, self.number, self.stop = url, number, stop
        self.acknowledged: dict[str, tuple[bytes, float]] = {}
        self.failures = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with RedisArtifactStore(self.url, retry_for=0.05, index_tags=["third"]) as store:
                n = 0
                while not self.stop.is_set():
                    n += 1
                    content = b"%d %d " % (self.number, n) * (30_000 if n % 5 == 0 else 3)
                    name = f"w{self.number}-{n}" if n % 3 == 0 else None
                    try:
                        about = {"run_id": f"run {self.number}", "tags": {"third": str(n % 3)}, "ttl": 3600}
                        stored = store.store(content, artifact_id=name, **about)
                    except StoreUnavailableError:
                        self.failures += 1
                        n -= 1  # the outcome is unknown: the same again
                    else:
                        self.acknowledged[stored.artifact_id] = content, time.monotonic()
        except BaseException as error:
            self.error = error


@pytest.mark.parametrize(
    ("engine", "fsync"),
    each_in_turn(ENGINES, ["always", "everysec"]),
    ids=lambda value: getattr(value, "name", value),
)
def test_what_was_acknowledged_survives_a_kill(engine, fsync) -> None:
    with Server(require(engine), "--appendonly", "yes", "--appendfsync", fsync) as server:
        stop = threading.Event()
        writers = [Writer(server.url, n, stop) for n in range(3)]
        for writer in writers:
            writer.start()
        lost, checked = 0, 0
        try:
            with RedisArtifactStore(server.url, retry_for=30) as store:
                for _ in range(CYCLES):
                    target = sum(len(writer.acknowledged) for writer in writers) + 30
                    while sum(len(writer.acknowledged) for writer in writers) < target:
                        assert all(writer.is_alive() for writer in writers)
                        time.sleep(0.002)
                    killed_at = time.monotonic()
                    server.kill()
                    before = [dict(writer.acknowledged) for writer in writers]
                    server.start()
                    for acknowledged in before:
                        recent = dict(list(acknowledged.items())[-200:])
                        for found, (name, (content, at)) in zip(store.load_many(recent), recent.items(), strict=True):
                            checked += 1
                            if found is None:
                                assert fsync == "everysec", name
                                assert at > killed_at - GRACE, name
                                lost += 1
                            else:
                                assert found.content == content
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert [writer.error for writer in writers] == [None] * 3
        with RedisArtifactStore(server.url, retry_for=30) as store:
            assert store.check(read_data=True).problems == []
            assert sum(store.facets("tag:third").values()) == store.count()
        assert checked > CYCLES
        print(f"{engine.name} {fsync}: {CYCLES} kills, {checked} loads checked, {lost} lost")
