"""What is wrong with a store's server, or may go wrong, and the command that cures it.

    diagnosis = examine(store)
    for finding in diagnosis.findings: ...

Nothing is changed. What the store's user may not ask is not asked, and the diagnosis says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..aio import AsyncArtifactStore, AsyncRedisArtifactStore
from ..errors import EvictingServerWarning, InvalidArtifactError
from ..plan import Plan
from ..store import ArtifactStore
from ..sync import RedisArtifactStore
from . import servers, stores
from .facts import Facts, gather
from .findings import LEVELS, Diagnosis, Finding, Level

__all__ = ["Diagnosis", "Facts", "Finding", "Level", "aask", "aexamine", "ask", "examine", "judge"]


def examine(
    store: ArtifactStore, *, thorough: bool | None = None, progress: Callable[[int], None] | None = None
) -> Diagnosis:
    """Look at a store's servers, its permissions, and what lies there.

    Args:
        store: On a Redis or Valkey server or cluster.
        thorough: Read every key of the namespace, as `check` does, to find leftovers and what does not fit together;
            left out: where there are 20,000 artifacts at most, and the user may.
        progress: Called with the number of keys looked at so far.

    Raises:
        InvalidArtifactError: It is another kind of store.
        StoreUnavailableError: No server can be asked anything.
    """
    return judge(ask(store, thorough=thorough, progress=progress))


async def aexamine(
    store: AsyncArtifactStore, *, thorough: bool | None = None, progress: Callable[[int], None] | None = None
) -> Diagnosis:
    """`examine`, awaited."""
    return judge(await aask(store, thorough=thorough, progress=progress))


def ask(store: ArtifactStore, *, thorough: bool | None = None, progress: Callable[[int], None] | None = None) -> Facts:
    """What `examine` judges, as `judge` takes it."""
    if not isinstance(store, RedisArtifactStore):
        raise _not_on_a_server(store)
    with _no_warning():
        return store._run(_facts(store, thorough, progress))  # noqa: SLF001  # see `_facts`


async def aask(
    store: AsyncArtifactStore, *, thorough: bool | None = None, progress: Callable[[int], None] | None = None
) -> Facts:
    """`ask`, awaited."""
    if not isinstance(store, AsyncRedisArtifactStore):
        raise _not_on_a_server(store)
    with _no_warning():
        return await store._run(_facts(store, thorough, progress))  # noqa: SLF001  # see `_facts`


def _facts(
    store: RedisArtifactStore | AsyncRedisArtifactStore,
    thorough: bool | None,
    progress: Callable[[int], None] | None,
) -> Plan[Facts]:
    """Below the store's operations: what its session reaches is asked about the servers themselves."""
    return gather(store._redis, store._target.encrypted, thorough, progress)  # noqa: SLF001


def judge(facts: Facts) -> Diagnosis:
    """What the facts mean; nothing is asked."""
    findings = [finding for server in facts.servers for check in servers.CHECKS for finding in check(server, facts)]
    findings += [finding for check in stores.CHECKS for finding in check(facts)]
    return Diagnosis(findings=sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def _not_on_a_server(store: object) -> InvalidArtifactError:
    return InvalidArtifactError(
        f"a {type(store).__name__} has no server to examine: `check` looks at what lies in any store"
    )


@contextmanager
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvictingServerWarning)  # it is a finding
        yield
