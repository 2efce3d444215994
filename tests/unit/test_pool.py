"""What becomes of wires that are given back; what servers see of it is in tests/redis/test_sharing.py."""

from __future__ import annotations

import asyncio

import pytest
from coatcheck.backends.redis.transport.pool import AsyncOwn, Login, Own


class Idle:
    open = usable = True

    def close(self) -> None:
        self.open = False


def node() -> Own:
    return Own("h:1", "", object, Login({"socket_connect_timeout": 5}), 30)


def test_a_wire_with_replies_left_to_read_is_closed() -> None:
    own, wire = node(), Idle()
    own.give_back(wire, clean=False)
    assert not wire.open
    assert own._idle == []


def test_a_closed_node_closes_what_is_idle_and_what_comes_back() -> None:
    own, idle, late = node(), Idle(), Idle()
    own.give_back(idle, clean=True)
    own.close()
    own.give_back(late, clean=True)
    assert not idle.open
    assert not late.open


class Limited(AsyncOwn):
    """A node with one wire at a time."""

    def __init__(self) -> None:
        super().__init__("h:1", "", object, Login({"socket_connect_timeout": 5}), 30, limit=1)
        self.made = 0

    async def _connect(self) -> Idle:
        self.made += 1
        wire = Idle()
        wire.loop = asyncio.get_running_loop()
        return wire


def test_tasks_beyond_the_limit_wait_for_their_turn() -> None:
    async def main() -> None:
        own, served = Limited(), []

        async def work(number: int) -> None:
            for _ in range(3):
                wire = await own.take()
                served.append(number)
                await asyncio.sleep(0)
                own.give_back(wire, clean=True)

        await asyncio.gather(*map(work, range(3)))
        assert served == [0, 1, 2] * 3  # who comes again is behind who waits
        assert own.made == 1

    asyncio.run(main())


@pytest.mark.parametrize("when", ["closed", "cancelled", "cancelled as its turn comes"])
def test_who_waits_no_more_takes_nobodys_turn(when) -> None:
    async def main() -> None:
        own = Limited()
        wire = await own.take()
        if when == "closed":
            gone = own.take()
            gone.send(None)
            gone.close()
        else:
            gone = asyncio.create_task(own.take())
        stays = asyncio.create_task(own.take())
        await asyncio.sleep(0)
        if when == "cancelled":
            gone.cancel()
        own.give_back(wire, clean=True)
        if when == "cancelled as its turn comes":
            gone.cancel()
        assert await asyncio.wait_for(stays, 30) is wire
        own.give_back(wire, clean=True)
        assert await asyncio.wait_for(own.take(), 30) is wire

    asyncio.run(main())
