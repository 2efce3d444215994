"""What is promised holds while servers are killed, paused, replaced, filled and emptied, and networks cut.

Callers store, look and delete all the while, at `durability="memory"` and `"replica"`; what they saw is checked. Each
scenario prints one line a level. COATCHECK_FAILURES says for how many seconds each goes on; `make soak` takes longer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
from redis.crc import key_slot

from coatcheck.testing import Cluster, Sentinels, Server, eventually

from ..conftest import binary_of
from .checker import LOST, RISEN, STALE, check
from .load import Load
from .network import Network

SECONDS = float(os.environ.get("COATCHECK_FAILURES", "2"))

LEVELS = {"memory": {"durability": "memory"}, "replica": {"durability": "replica"}}


def again_and_again(load: Load) -> Iterator[int]:
    """Numbers the rounds, once at least; callers get something done before each and after the last."""
    began, number = time.monotonic(), 0
    while not number or time.monotonic() < began + SECONDS:
        load.goes_on()
        yield number
        number += 1
    load.goes_on()


def judge(name: str, load: Load, **forgiven: set[str]) -> None:
    """Print what became of each store, and fail for what is not forgiven there."""
    load.look()
    for namespace, history in load.histories.items():
        report = check(history)
        print(f"\n{name}, {namespace}: {report}", end="")
        for problem in report.problems:
            assert problem.kind in forgiven.get(namespace, set()), (
                f"{problem.kind}: {problem.seen}\npromised: {problem.cause}\n{history.about(problem.seen.id)}"
            )
        with load.open(namespace) as store:
            assert store.check(read_data=True).problems == []


# One server -------------------------------------------------------------------------------------------------------


def test_a_server_is_killed_and_restarted() -> None:
    with Server(binary_of("valkey"), persistent=True) as server:
        with Load(server.url, memory={}) as load:
            for _ in again_and_again(load):
                server.kill()
                server.start()
        judge("killed and restarted", load)


def test_a_server_pauses() -> None:
    with Server(binary_of("valkey")) as server:
        with Load(server.url, memory={}) as load:
            for _ in again_and_again(load):
                server.pause()
                time.sleep(0.5)
                server.resume()
        judge("paused", load)


def test_the_network_to_a_server_is_cut() -> None:
    with Server(binary_of("valkey"), tcp=True) as server, Network([server]) as network:
        with Load(network.url("redis"), memory={}) as load:
            for _ in again_and_again(load):
                network.to[server.port].cut()
                time.sleep(0.5)
                network.to[server.port].mend()
        judge("cut off", load)
