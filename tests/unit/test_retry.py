"""What is told of a write that failed more than once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from coatcheck import AmbiguousWriteError
from coatcheck.backends.redis.scripts.script import Command
from coatcheck.backends.redis.transport.base import BrokenError, NotSentError
from coatcheck.backends.redis.transport.durability import Confirmation
from coatcheck.backends.redis.transport.pool import Login, Own
from coatcheck.backends.redis.transport.retry import deliver
from redis.exceptions import ResponseError


TRANSPORT = SimpleNamespace(node=lambda slot: NODE, engine=None, is_cluster=False, follows=False)
NODE = Own("h:1", "", object, Login({"socket_connect_timeout": 5}), 30)
PING = Command(0, (b"PING",), lambda reply: reply)


def test_a_write_that_may_have_happened_stays_in_doubt_whatever_happens_then() -> None:
    plan = deliver(TRANSPORT, [PING], 0.015, writes=True)
    plan.send(None)
    plan.send([BrokenError("no answer")])  # a pause follows
    plan.send(None)
    with pytest.raises(AmbiguousWriteError):
        plan.send([NotSentError("nobody is there")])


def test_a_confirmation_that_could_not_be_given_is_asked_for_again_behind_the_write() -> None:
    plan = deliver(TRANSPORT, [PING], 10, writes=True, behind=Confirmation("replica"))
    plan.send(None)
    plan.send([[b"PONG", ResponseError("BUSY with a script")]])  # a pause follows
    plan.send(None)
    with pytest.raises(StopIteration) as end:
        plan.send([[b"PONG", 1]])
    assert end.value.value == [b"PONG"]
