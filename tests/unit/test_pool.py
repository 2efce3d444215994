"""What becomes of wires that are given back; what servers see of it is in tests/redis/test_sharing.py."""

from __future__ import annotations

from coatcheck.backends.redis.transport.pool import Login, Own


class Idle:
    open = True

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
