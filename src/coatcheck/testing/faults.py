"""Faults for your own tests: a store, of any backend and face, that is slow, full, away, or has lost something.

    with inject(store, seed=7, lost_replies=0.1, latency=0.05) as faults:
        ...  # what uses the store
    assert faults.count["lost reply"] > 0

Which calls are disturbed depends on the seed and on the order of the calls alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from ..aio import AsyncArtifactStore
from ..arguments import DEFAULT
from ..backends.opened import OpenedArtifact
from ..errors import (
    AmbiguousWriteError,
    ArtifactLostError,
    InvalidArtifactError,
    StoreFullError,
    StoreUnavailableError,
)
from ..face import Face
from ..interception import intercepted
from ..plan import Pause, Plan
from ..refs import id_of
from ..store import ArtifactStore
from .blocking import Blocking

_STORES: Final = ("store", "store_many", "store_file", "link")
_READS: Final = (
    *("load", "load_many", "open", "load_range", "exists", "get_metadata", "metadata_many"),
    *("leases", "leases_many"),
    *(
        "list_by_run",
        "list_all",
        "list_runs",
        "search",
        "page",
        "page_runs",
        "iter_artifacts",
        "iter_run",
        "iter_runs",
        "count",
        "facets",
        "stats",
        "run_stats",
        "run_stats_many",
    ),
)


@contextmanager
def inject(
    store: ArtifactStore | AsyncArtifactStore,
    *,
    seed: int = 0,
    latency: float = 0,
    unavailable: float = 0,
    full: float = 0,
    lost_replies: float = 0,
    lost_content: float = 0,
) -> Iterator[Faults]:
    """Disturb what a store does until the end of the `with`; then it is as it was.

    Args:
        store: One of ours, or one over a backend of your own. Others that use the same artifacts are left alone.
        seed: Another one disturbs other calls.
        latency: Seconds that a call waits at most before it begins; each waits for another share of it.
        unavailable: Share of the calls, from 0 to 1, that end in `StoreUnavailableError`: nothing was done.
        full: Share of the calls that store something and end in `StoreFullError`: nothing was written.
        lost_replies: Share of the calls that are done, and all the same end in `AmbiguousWriteError`; those that only
            read in `StoreUnavailableError`.
        lost_content: Share of the artifacts whose content is gone, until it is stored again: reading it raises
            `ArtifactLostError`, `exists` denies it, `find_missing` names it. Each is lost once at most.

    Raises:
        InvalidArtifactError: A share is none, or the store is not one of ours.
    """
    face = getattr(store, "_store", store) if isinstance(store, Blocking) else store
    if not isinstance(face, Face):
        raise InvalidArtifactError(f"faults need a store of coatcheck's, or over a Backend, not {type(store).__name__}")
    shares = {"unavailable": unavailable, "full": full, "lost_replies": lost_replies, "lost_content": lost_content}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InvalidArtifactError(f"{name} is a share of calls, from 0 to 1, not {share!r}")
    if not latency >= 0:
        raise InvalidArtifactError(f"latency must be seconds, 0 or more, not {latency!r}")
    faults = Faults(seed, latency, shares)
    undisturbed = face._operations  # noqa: SLF001  # what both faces and all backends have in common
    face._operations = intercepted(undisturbed, faults._around)  # noqa: SLF001
    try:
        yield faults
    finally:
        face._operations = undisturbed  # noqa: SLF001


def _only_reads(name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
    if name == "find_missing":
        return args[1] is DEFAULT
    return name in _READS or keywords.get("dry_run") is True or (name == "check" and not keywords["repair"])


class Faults:
    """What was injected.

    Attributes:
        count: How often, by kind: `slow`, `unavailable`, `full`, `lost reply`, `lost content`.
    """

    def __init__(self, seed: int, latency: float, shares: dict[str, float]) -> None:
        self.count: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311  # to be repeated, not a secret
        self._latency = latency
        self._shares = shares
        self._lost: dict[str, bool] = {}  # artifacts that were looked at -> whether their content is lost still

    def _around(self, name: str, operation: Callable[..., Any], /, *args: Any, **keywords: Any) -> Plan[Any]:
        """See `interception.Around`."""
        if name == "close":
            return (yield from operation(*args, **keywords))
        if name in ("find_missing", "load_many"):
            args = (list(args[0]), *args[1:])  # to be looked at twice
        if self._latency:
            self.count["slow"] += 1
            yield Pause(self._random.uniform(0, self._latency))
        if self._happens("unavailable"):
            raise StoreUnavailableError("no usable server (injected)")
        if name in (*_STORES, "link") and self._happens("full"):
            raise StoreFullError("the server reached maxmemory (injected)")
        result = yield from operation(*args, **keywords)
        if self._happens("lost_replies", "lost reply"):
            if _only_reads(name, args, keywords):
                raise StoreUnavailableError("no usable server: connection lost (injected)")
            raise AmbiguousWriteError("connection lost while writing (injected); it is safe to repeat the call")
        if name in _STORES:
            self._heal(result if isinstance(result, list) else [result])
        return self._without_lost(name, args, result) if self._shares["lost_content"] else result

    def _without_lost(self, name: str, args: tuple[Any, ...], result: Any) -> Any:
        if name == "find_missing":
            missing = set(result)
            return [i for i in dict.fromkeys(map(id_of, args[0])) if i in missing or self._is_lost(i)]
        if name == "exists":
            return result and not self._is_lost(id_of(args[0]))
        if name in ("load", "open", "load_range") and result is not None:
            try:
                self._read([args[0]])
            except ArtifactLostError:
                if isinstance(result, OpenedArtifact):
                    result.close()
                raise
        if name == "load_many":
            self._read([i for i, artifact in zip(args[0], result, strict=True) if artifact is not None])
        return result

    def _read(self, ids: Iterable[Any]) -> None:
        for artifact_id in map(id_of, ids):
            if self._is_lost(artifact_id):
                raise ArtifactLostError(
                    f"artifact {artifact_id}: its content is gone (injected); storing it again heals it"
                )

    def _is_lost(self, artifact_id: str) -> bool:
        if artifact_id not in self._lost:
            self._lost[artifact_id] = self._happens("lost_content", "lost content")
        return self._lost[artifact_id]

    def _heal(self, stored: Iterable[Any]) -> None:
        self._lost.update((view.artifact_id, False) for view in stored if view.artifact_id in self._lost)

    def _happens(self, share: str, kind: str | None = None) -> bool:
        if self._random.random() >= self._shares[share]:
            return False
        self.count[kind or share] += 1
        return True
