"""Plans that go on while a pipeline of theirs is under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from ....plan import Plan, Step
from .base import Begin, Finish, Pending, Pipelines

_DEPTH = 2  # pipelines under way at a time: the server works on one while the other is read


def overlapped(plans: Iterable[Plan[Any]]) -> Plan[None]:
    """Run plans one after the other, the first pipeline of each while the one before is read.

    Args:
        plans: Each is made when it is about to begin. Servers may see them in any order, so they only read. What they
            find out they note themselves.
    """
    begun: deque[_Begun] = deque()
    try:
        for plan in plans:
            begun.append(_Begun(plan))
            yield from begun[-1].begin()
            if len(begun) == _DEPTH:
                yield from begun.popleft().end()
        while begun:
            yield from begun.popleft().end()
    finally:
        for one in begun:
            one.close()


class _Begun:
    """A plan that has yielded its first step, or has ended without one."""

    def __init__(self, plan: Plan[Any]) -> None:
        self._plan = plan
        self._step: Step | None = next(plan, None)
        self._pending: Pending | None = None

    def begin(self) -> Plan[None]:
        """Send its first pipeline, if the step is one, and if that takes no connection from others."""
        step = self._step
        if isinstance(step, Pipelines) and all(part.node.spare for part in step.parts):
            self._pending = yield Begin(step)
            self._step = Finish(self._pending)

    def end(self) -> Plan[None]:
        """Go on from there."""
        plan, step = self._plan, self._step
        try:
            while step is not None:
                try:
                    result: Any = yield step
                except BaseException as error:  # noqa: BLE001  # the plan decides what an error means
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Nobody waits for it any more."""
        if self._pending is not None:
            self._pending.close()
        self._plan.close()
