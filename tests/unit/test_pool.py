"""What becomes of connections that are given back; what servers see of it is in tests/redis/test_sharing.py."""

from __future__ import annotations

from coatcheck.backends.redis.transport.pool import Own


class Connection:
    connected = True

    def disconnect(self) -> None:
        self.connected = False


def test_a_connection_with_replies_left_to_read_is_closed() -> None:
    node, connection = Own("h:1", "", Connection), Connection()
    node.give_back(connection, clean=False)
    assert not connection.connected
    assert node._idle == []


def test_a_closed_pool_closes_what_is_idle_and_what_comes_back() -> None:
    node, idle, late = Own("h:1", "", Connection), Connection(), Connection()
    node.give_back(idle, clean=True)
    node.close()
    node.give_back(late, clean=True)
    assert not idle.connected
    assert not late.connected
