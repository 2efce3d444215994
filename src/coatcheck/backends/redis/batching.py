"""How lists are cut: bounded work for a script, bounded bytes for a round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from ...errors import StoreUnavailableError
from ...plan import Plan
from ...request import StoreRequest
from .layout.keys import Keys
from .scripts.script import Unit
from .session import Session

T = TypeVar("T")
Item = TypeVar("Item")

PAGE: Final = 500
"""Artifacts that one script call reads: bounds how long other clients wait."""

LOADED: Final = 100
"""Artifacts that one script call reads with their contents, of 16 KiB at most each."""

CHANGES: Final = 100
"""Artifacts that one script call changes."""

ROUND: Final = 4_000
"""Artifacts that one round trip asks about: with the longest names, the six keys of each are 8 MiB together."""

BATCH_BYTES: Final = 8 * 1024 * 1024
"""What one round trip carries either way, about."""

_BEGINNING: Final = 50  # artifacts

_CALL_BYTES: Final = 256 * 1024  # contents of one call that stores


def pages(items: Sequence[T], size: int = PAGE) -> Iterable[Sequence[T]]:
    """Items in order, as many at a time as one script call looks at, or as `size` says."""
    return (items[i : i + size] for i in range(0, len(items), size))


def by_partition(places: Iterable[Keys]) -> dict[Keys, list[int]]:
    """The numbers of the items of each partition, in order."""
    found: dict[Keys, list[int]] = {}
    for i, keys in enumerate(places):
        if keys in found:
            found[keys].append(i)
        else:
            found[keys] = [i]
    return found


class Pace:
    """How many artifacts a pipeline of plain commands asks about: nobody knows beforehand how long replies are.

    Two pipelines are under way at a time. The first ones are short; then both carry `BATCH_BYTES` together, if nothing
    about an artifact is longer than what has come so far.

    Args:
        most: Artifacts.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._longest = 0

    def saw(self, length: int) -> None:
        """What came about one artifact has so many bytes, about."""
        self._longest = max(self._longest, length)

    def next(self) -> int:
        """Artifacts of the next pipeline."""
        if self._longest == 0:
            return _BEGINNING
        return max(1, min(self._most, BATCH_BYTES // 2 // self._longest))


def parts(places: Sequence[Keys], pace: Pace) -> Iterable[list[tuple[Keys, Sequence[int]]]]:
    """The numbers of items, by partition, for one pipeline after the other; each is cut when it is asked for."""
    return cut(by_partition(places), pace)


def cut(items: Mapping[Keys, Sequence[T]], pace: Pace) -> Iterator[list[tuple[Keys, Sequence[T]]]]:
    """The same of items that are sorted by partition already."""
    part: list[tuple[Keys, Sequence[T]]] = []
    room = pace.next()
    for keys, its in items.items():
        start = 0
        while start < len(its):
            some = its[start : start + room]
            start += len(some)
            room -= len(some)
            part.append((keys, some))
            if room == 0:
                yield part
                part, room = [], pace.next()
    if part:
        yield part


def ask_about(
    session: Session,
    items: Sequence[tuple[Keys, Item]],
    ask: Callable[[Keys, Sequence[Item], int], Unit[list[T]]],
    count: int = PAGE,
) -> Plan[list[T]]:
    """Ask scripts about items that lie in any partition; an answer for each, in order.

    `ask` makes the call for some items of one partition, at most `count`; its last argument says how many bytes it may
    return, about. A call may answer for the first items only.
    """
    answers: list[T | None] = [None] * len(items)
    for some in pages(range(len(items)), ROUND):
        waiting = [
            (keys, [some[i] for i in page])
            for keys, numbers in by_partition(items[i][0] for i in some).items()
            for page in pages(numbers, count)
        ]
        while waiting:
            now, waiting = waiting, []
            budget = BATCH_BYTES // len(now)
            replies = yield from session.read_each(
                [ask(keys, [items[i][1] for i in numbers], budget) for keys, numbers in now]
            )
            for (keys, numbers), reply in zip(now, replies, strict=True):
                if not 0 < len(list(reply)) <= len(numbers):
                    raise StoreUnavailableError("the server answered a question about several artifacts for none")
                for i, answer in zip(numbers, reply, strict=False):
                    answers[i] = answer
                if len(reply) < len(numbers):
                    waiting.append((keys, numbers[len(reply) :]))
    return answers  # type: ignore[return-value]  # all are there now


def without_rivals(requests: Sequence[StoreRequest]) -> Iterable[Sequence[StoreRequest]]:
    """Split where an id comes again with other content: large ones are sent last, and the last write has to win."""
    digests: dict[str, bytes] = {}
    start = 0
    for i, request in enumerate(requests):
        if digests.setdefault(request.artifact_id, request.digest) != request.digest:
            yield requests[start:i]
            start, digests = i, {request.artifact_id: request.digest}
    yield requests[start:]


def batches(items: Sequence[T], count: int, size: Callable[[T], int]) -> Iterable[list[T]]:
    """Items in order, in lists bounded by number and by bytes."""
    batch: list[T] = []
    total = 0
    for item in items:
        length = size(item)
        if batch and (len(batch) >= count or total + length > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += length
    if batch:
        yield batch


def together(requests: Sequence[StoreRequest], inline: int) -> Iterable[slice]:
    """What one script call stores: neighbours of one TTL and at most `inline` bytes; larger ones by themselves.

    Each id comes once: a call looks at all of its artifacts before it writes any.
    """
    start = size = 0
    ids: set[str] = set()
    for i, request in enumerate(requests):
        ends_here = i > start and (
            request.artifact_id in ids
            or request.size > inline
            or requests[start].size > inline
            or request.ttl_ms != requests[start].ttl_ms
            or i - start >= CHANGES
            or size + request.size > _CALL_BYTES
        )
        if ends_here:
            yield slice(start, i)
            start, size = i, 0
            ids.clear()
        ids.add(request.artifact_id)
        size += request.size
    if start < len(requests):
        yield slice(start, len(requests))
