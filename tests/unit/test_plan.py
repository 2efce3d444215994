"""Plans and their two drivers."""

from __future__ import annotations

import asyncio
import threading

import pytest

from coatcheck.backends.redis.transport.resp import merge, pack
from coatcheck.plan import Pause, Work, arun, run

DRIVERS = [run, lambda plan: asyncio.run(arun(plan))]


@pytest.mark.parametrize("drive", DRIVERS)
def test_steps_run_in_order_and_results_come_back(drive) -> None:
    def plan():
        first = yield Work(lambda: 1)
        yield Pause(0)
        second = yield Work(lambda: first + 1)
        return [first, second]

    assert drive(plan()) == [1, 2]


@pytest.mark.parametrize("drive", DRIVERS)
def test_a_plan_may_handle_the_error_of_a_step(drive) -> None:
    def plan():
        try:
            yield Work(lambda: 1 / 0)
        except ZeroDivisionError:
            return (yield Work(lambda: "handled"))

    assert drive(plan()) == "handled"


@pytest.mark.parametrize("drive", DRIVERS)
def test_an_error_leaves_the_driver_and_closes_the_plan(drive) -> None:
    closed = []

    def plan():
        try:
            yield Work(lambda: 1 / 0)
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        drive(plan())
    assert closed == [True]


def test_work_leaves_the_event_loop() -> None:
    def plan():
        return (yield Work(threading.get_ident))

    assert asyncio.run(arun(plan())) != threading.get_ident()
    assert run(plan()) == threading.get_ident()


def test_commands_are_packed_as_resp() -> None:
    assert b"".join(pack([b"SET", b"k", (b"a", b"bc")])) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3\r\nabc\r\n"


def test_large_arguments_are_sent_as_they_are() -> None:
    large = bytes(100_000)
    buffers = list(merge([pack([b"SET", b"k", (b"head", large)]), pack([b"GET", b"k"])]))
    assert any(buffer is large for buffer in buffers)
    assert (
        b"".join(buffers)
        == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100004\r\nhead" + large + b"\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    )
    assert len(buffers) == 3
