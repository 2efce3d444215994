"""How long lists are cut: bounded work for a script, bounded bytes for a round trip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from ...arguments import StoreRequest

T = TypeVar("T")

PAGE: Final = 500
"""Artifacts that one script call looks at: bounds how long other clients wait."""

ROUND: Final = 20 * PAGE
"""Artifacts that one round trip asks about: bounds what lies in buffers on the way."""

BATCH_BYTES: Final = 8 * 1024 * 1024
"""Content that one round trip of a batch carries, about."""


CALL_ITEMS: Final = 100
CALL_BYTES: Final = 256 * 1024
"""Artifacts and content of one call that stores."""


def pages(items: Sequence[T], size: int = PAGE) -> Iterable[Sequence[T]]:
    """Items in order, as many at a time as one script call looks at, or as `size` says."""
    return (items[i : i + size] for i in range(0, len(items), size))


def flat(replies: Iterable[Iterable[T]]) -> list[T]:
    """What page after page was answered, as one list."""
    return [item for reply in replies for item in reply]


def without_rivals(requests: Sequence[StoreRequest]) -> Iterable[Sequence[StoreRequest]]:
    """Split where an id comes again with other content: large ones are sent last, and the last write has to win."""
    digests: dict[str, bytes] = {}
    start = 0
    for i, request in enumerate(requests):
        if digests.setdefault(request.artifact_id, request.digest) != request.digest:
            yield requests[start:i]
            start, digests = i, {request.artifact_id: request.digest}
    yield requests[start:]


def without_repeats(requests: Sequence[StoreRequest]) -> Iterable[Sequence[StoreRequest]]:
    """Split where an id comes again."""
    ids: set[str] = set()
    start = 0
    for i, request in enumerate(requests):
        if request.artifact_id in ids:
            yield requests[start:i]
            start, ids = i, set()
        ids.add(request.artifact_id)
    yield requests[start:]


def batches(items: Sequence[T], count: int, size: Callable[[T], int]) -> Iterable[list[T]]:
    """Items in order, in lists bounded by number and by bytes."""
    batch: list[T] = []
    total = 0
    for item in items:
        if batch and (len(batch) >= count or total + size(item) > BATCH_BYTES):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size(item)
    if batch:
        yield batch


def together(requests: Sequence[StoreRequest], inline: int) -> Iterable[slice]:
    """What one script call stores: neighbours of one TTL and at most `inline` bytes; larger ones by themselves."""
    start = size = 0
    for i, request in enumerate(requests):
        ends_here = i > start and (
            request.size > inline
            or requests[start].size > inline
            or request.ttl_ms != requests[start].ttl_ms
            or i - start >= CALL_ITEMS
            or size + request.size > CALL_BYTES
        )
        if ends_here:
            yield slice(start, i)
            start, size = i, 0
        size += request.size
    if start < len(requests):
        yield slice(start, len(requests))
