"""What is told of a write that failed more than once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from coatcheck import AmbiguousWriteError
from coatcheck.backends.redis.scripts.script import Command
from coatcheck.backends.redis.transport.base import BrokenError, NotSentError
from coatcheck.backends.redis.transport.pool import Own
from coatcheck.backends.redis.transport.retry import deliver


def test_a_write_that_may_have_happened_stays_in_doubt_whatever_happens_then() -> None:
    node = Own("h:1", "", object)
    transport = SimpleNamespace(node=lambda slot: node, engine=None, is_cluster=False, follows=False)
    plan = deliver(transport, [Command(0, (b"PING",), lambda reply: reply)], 0.015, writes=True)
    plan.send(None)
    plan.send([BrokenError("no answer")])  # a pause follows
    plan.send(None)
    with pytest.raises(AmbiguousWriteError):
        plan.send([NotSentError("nobody is there")])
