"""Chunks follow their content: they last at least as long, and end with it.

A script cannot do that: there may be thousands of them, and only the manifest says which. So chunks are brought in line
from here, page by page, by `lua/follow.lua`: before a lease makes a content last longer, after one lets it end earlier.
What nobody may undo in between is kept by a *hold*, a member among the content's needs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from ....envelope import MANIFEST, VERSION
from ....errors import StoreUnavailableError
from ....plan import Plan
from ..layout.keys import Keys
from ..scripts import calls
from ..scripts.calls import Chunks, Hold, Outcome
from ..scripts.script import Call, Chained, Filled, Form
from ..session import Session

T = TypeVar("T")

PAGE: Final = 500
"""Chunks that one script call or round trip looks at."""

_TRIES: Final = 5
_START: Final = 62  # bytes of a manifest up to its first chunk
_LOOK: Final = Form((b"GETRANGE", None, b"0", b"%d" % (_START - 1)), (b"STRLEN", None))


def new_token() -> bytes:
    """What no other upload, hold or deletion has: 16 hex digits."""
    return os.urandom(8).hex().encode()


def number_pages(count: int) -> Iterable[range]:
    """The numbers of chunks, a page at a time; an empty page where there are none."""
    return (range(first, min(first + PAGE, count)) for first in range(0, max(count, 1), PAGE))


def follow(session: Session, keys: Keys, chunks: Chunks, given_up: bytes = b"") -> Plan[int]:
    """Bring chunks in line with their content, without a hold that is given up; how many are there."""
    present: int = 0
    for numbers in number_pages(chunks.total):
        present += yield from session.write(calls.follow(keys, chunks, numbers, given_up))
    return present


def followed(session: Session, keys: Keys, call: Call[T], chunks: Chunks, given_up: bytes = b"") -> Plan[tuple[T, int]]:
    """Make a call, and let chunks follow behind it; what it returned, and how many chunks are there."""
    pages = iter(number_pages(chunks.total))
    result, present = yield from session.write(Chained(call, calls.follow(keys, chunks, next(pages), given_up)))
    for numbers in pages:
        present += yield from session.write(calls.follow(keys, chunks, numbers, given_up))
    return result, present


def known(session: Session, keys: Keys, content_id: bytes) -> Plan[Chunks | None]:
    """The chunks of a content; `None` where it is gone, or in one string."""

    def decode(replies: Any) -> Chunks | None:
        start, length = replies
        if len(start) < _START or start[:2] != bytes((VERSION, MANIFEST)):
            return None
        return Chunks(content_id, start[_START - 8 :].hex().encode(), (length - _START) // 13)

    content = keys.content(content_id)
    return session.read(Filled(_LOOK, keys.slot, (content, content), decode))


def tidy(session: Session, keys: Keys, chunks: Chunks | None) -> Plan[None]:
    """The same after a change that may have let them end earlier."""
    if chunks is not None:
        yield from follow(session, keys, chunks)


def held(
    session: Session,
    keys: Keys,
    content_id: bytes,
    found: Outcome,
    ttl_ms: int | None,
    change: Callable[[Hold], Call[Outcome]],
    *,
    complete: bool = True,
) -> Plan[Outcome | None]:
    """Take a lease on chunked content: hold the chunks, let them follow, take the lease.

    Args:
        session: The namespace.
        keys: The partition.
        content_id: The content.
        found: What a call said that met its chunks.
        ttl_ms: How long the lease is to last.
        change: The call that takes the lease; it ends the hold.
        complete: Only where all chunks are there.

    Returns:
        What became of it; `None` where the content is gone, not chunked any more, or not `complete`.
    """
    for _ in range(_TRIES):
        member = b"!%014x%b" % (found.created, new_token())
        chunks = Chunks(content_id, found.token, found.chunks)
        try:
            hold, present = yield from followed(session, keys, calls.hold(keys, content_id, member, ttl_ms), chunks)
            if hold is None:
                return None
            if hold.chunks != chunks:
                chunks = hold.chunks
                present = yield from follow(session, keys, chunks)
            if complete and present < chunks.total:
                yield from follow(session, keys, chunks, given_up=member)
                return None
            # The lease may end earlier than the one it renews, or than the hold: they follow once more.
            found, _ = yield from followed(session, keys, change(hold), chunks, given_up=member)
        except GeneratorExit:  # nobody runs this plan any more
            raise
        except BaseException:
            pages = number_pages(chunks.total)
            yield from session.clean_up(calls.follow(keys, chunks, numbers, member) for numbers in pages)
            raise
        if found.kind != "chunked":
            return found
    raise StoreUnavailableError(f"content {content_id.decode()} changed {_TRIES} times while it was leased; try again")
