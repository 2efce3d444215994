"""Pipelines that are under way while others are read."""

from __future__ import annotations

import asyncio

import pytest

from coatcheck.backends.redis.batching import BATCH_BYTES, Pace, parts
from coatcheck.backends.redis.layout.keys import Keys
from coatcheck.backends.redis.scripts.script import ANY_ID, IdForm
from coatcheck.backends.redis.transport.overlapping import overlapped
from coatcheck.backends.redis.transport.base import Part, Pipelines
from coatcheck.backends.redis.transport.resp import pack
from coatcheck.plan import arun, run


class Node:
    name, trust, incarnation = "node", "", None

    def __init__(self, *, spare: bool) -> None:
        self.spare = spare


class Answers:
    """A transport that writes down what becomes of each pipeline; it answers with its number."""

    def __init__(self, *, spare: bool = True, awaited: bool = False) -> None:
        self.seen: list[tuple[str, int]] = []
        self.awaited = awaited
        self._node = Node(spare=spare)

    def step(self, number: int) -> Pipelines:
        return Pipelines(self, (Part(self._node, [], number),))

    def send(self, parts):
        return self.begin(parts).results()

    def begin(self, parts):
        self.seen.append(("sent", parts[0].replies))
        return _Pending(self, parts[0].replies)


class _Pending:
    def __init__(self, transport: Answers, number: int) -> None:
        self.transport, self.number, self.open = transport, number, True

    def results(self):
        self.open = False
        self.transport.seen.append(("read", self.number))
        return _soon(self.number) if self.transport.awaited else self.number

    def close(self) -> None:
        if self.open:
            self.open = False
            self.transport.seen.append(("closed", self.number))


async def _soon(value):
    return value


def plan(transport: Answers, number: int, found: list[int]):
    found.append((yield transport.step(number)))


IN_TURN = [("sent", 1), ("read", 1), ("sent", 2), ("read", 2), ("sent", 3), ("read", 3)]
AHEAD = [("sent", 1), ("sent", 2), ("read", 1), ("sent", 3), ("read", 2), ("read", 3)]


@pytest.mark.parametrize(("spare", "order"), [(True, AHEAD), (False, IN_TURN)])
def test_the_next_pipeline_is_under_way_while_one_is_read_where_there_are_wires_to_spare(spare, order) -> None:
    found: list[int] = []
    transport = Answers(spare=spare)
    run(overlapped(plan(transport, n, found) for n in (1, 2, 3)))
    assert found == [1, 2, 3]
    assert transport.seen == order


def test_the_same_on_asyncio() -> None:
    found: list[int] = []
    transport = Answers(awaited=True)
    asyncio.run(arun(overlapped(plan(transport, n, found) for n in (1, 2, 3))))
    assert (found, transport.seen) == ([1, 2, 3], AHEAD)


def test_a_plan_that_fails_leaves_nothing_under_way() -> None:
    transport = Answers()

    def failing():
        yield transport.step(1)
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        run(overlapped(iter([failing(), plan(transport, 2, [])])))
    assert transport.seen == [("sent", 1), ("sent", 2), ("read", 1), ("closed", 2)]


def test_a_plan_that_is_given_up_leaves_nothing_under_way() -> None:
    transport = Answers()
    whole = overlapped(plan(transport, n, []) for n in (1, 2, 3))
    pending = next(whole).run()
    whole.send(pending).run()
    whole.close()
    assert transport.seen == [("sent", 1), ("sent", 2), ("closed", 1)]  # the second was never told of its pipeline


def test_a_plan_may_end_without_a_step_and_go_on_after_its_first() -> None:
    transport, found = Answers(), []

    def twice():
        found.append((yield transport.step(1)))
        found.append((yield transport.step(2)))

    def at_once():
        found.append(0)
        yield from ()

    run(overlapped(iter([at_once(), twice(), at_once()])))
    assert sorted(found) == [0, 0, 1, 2]


def test_a_pipeline_asks_about_as_many_as_fit_by_what_came_before() -> None:
    pace = Pace(500)
    assert pace.next() == pace.next() == 50  # nothing came yet
    pace.saw(100)
    assert pace.next() == 500
    pace.saw(64 * 1024)
    pace.saw(10)
    assert pace.next() == BATCH_BYTES // 2 // (64 * 1024)
    pace.saw(BATCH_BYTES)
    assert pace.next() == 1


def test_parts_name_each_item_once_by_partition() -> None:
    one, two = Keys(b"one:", 1), Keys(b"two:", 2)
    cut = list(parts([one, two] * 60, Pace(50)))
    assert [sum(len(numbers) for _, numbers in part) for part in cut] == [50, 50, 20]
    assert sorted(n for part in cut for _, numbers in part for n in numbers) == list(range(120))
    assert all(keys is (one, two)[n % 2] for part in cut for keys, numbers in part for n in numbers)


@pytest.mark.parametrize("ids", [[b"0" * 32, b"1" * 32], [b"name", b"0" * 32, b"x" * 200]])
def test_a_form_of_ids_is_each_command_as_it_is_packed(ids) -> None:
    keys = Keys(b"a%b:{64.1f}:", 1)
    form = IdForm((b"HGET", keys.artifact(ANY_ID), b"%h"), (b"EXISTS", keys.artifact(ANY_ID), keys.content(ANY_ID)))
    commands = [
        command
        for i in ids
        for command in ((b"HGET", keys.artifact(i), b"%h"), (b"EXISTS", keys.artifact(i), keys.content(i)))
    ]
    assert form.repeated(ids) == b"".join(piece for command in commands for piece in pack(command))
