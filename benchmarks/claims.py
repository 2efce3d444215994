"""`python -m benchmarks.claims`: a batch of 100 payloads out of a Temporal history and back, next to plain redis-py.

Each payload is 100 KiB of text, all new in each round; prints minimum, median and maximum. The floor is a pipeline of
SET, or of GET, without hashes, leases and names. Needs the extra `temporal`.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time

from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverRetrieveContext, StorageDriverStoreContext, StorageDriverWorkflowInfo

from coatcheck.integrations.temporal import CoatcheckStorageDriver

from .server import BenchServer, machine

ROUNDS = 15
COUNT = 100
SIZE = 100 * 1024


def payloads(seed: int) -> list[Payload]:
    chance = random.Random(seed)
    return [
        Payload(metadata={"encoding": b"json/plain"}, data=chance.randbytes(SIZE // 2).hex().encode())
        for _ in range(COUNT)
    ]


async def measure(server: BenchServer) -> None:
    driver = CoatcheckStorageDriver(server.unix.url, ttl=3600)
    info = StorageDriverWorkflowInfo(namespace="default", id="order-1", type="Order")
    out, back = StorageDriverStoreContext(info), StorageDriverRetrieveContext()
    spent: dict[str, list[float]] = {}

    def note(name: str, began: float) -> None:
        spent.setdefault(name, []).append(1000 * (time.perf_counter() - began))

    for number in range(ROUNDS + 1):
        batch = payloads(number)
        began = time.perf_counter()
        claims = await driver.store(out, batch)
        note("store, all new", began)
        began = time.perf_counter()
        await driver.store(out, batch)
        note("store again", began)
        began = time.perf_counter()
        loaded = await driver.retrieve(back, claims)
        note("retrieve", began)
        assert loaded == batch
        pipe = server.control.pipeline(transaction=False)
        for i, payload in enumerate(batch):
            pipe.set(f"raw:{i}", payload.data)
        began = time.perf_counter()
        pipe.execute()
        note("pipeline of SET", began)
        for i in range(COUNT):
            pipe.get(f"raw:{i}")
        began = time.perf_counter()
        pipe.execute()
        note("pipeline of GET", began)
    await driver.close()
    carried = sum(claim.ByteSize() for claim in map(_as_payload, claims))
    print(f"{COUNT} payloads of {SIZE // 1024} KiB: {COUNT * SIZE / 2**20:.1f} MiB stay out of the history")
    print(f"{carried / 1024:.1f} KiB of claims go in")
    for name, times in spent.items():
        kept = times[1:]
        print(f"{name:<18}{min(kept):8.1f} {statistics.median(kept):8.1f} {max(kept):8.1f} ms")


def _as_payload(claim: object) -> Payload:
    """As large as what a claim says; a history adds the driver's name and little else."""
    data = claim.claim_data  # type: ignore[attr-defined]
    return Payload(metadata={key: value.encode() for key, value in data.items()})


def main() -> None:
    with BenchServer("valkey") as server:
        print(f"{server.version}, unix socket; {machine()}")
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
