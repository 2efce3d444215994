"""ProxyStore: objects behind proxies lie in a coatcheck store (extra `proxystore`).

    from proxystore.store import Store
    from coatcheck.integrations.proxystore import CoatcheckConnector

    with Store("results", CoatcheckConnector(default_ttl=3600)) as store:
        proxy = store.proxy(large_object)

It imports nothing of ProxyStore, whose protocols are structural.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from coatcheck import DEFAULT, Payload

from .opening import LazyStore

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from coatcheck.arguments import TtlOrDefault


class CoatcheckKey(NamedTuple):
    """Key of one put.

    Attributes:
        artifact_id: The artifact that was stored.
    """

    artifact_id: str


class CoatcheckConnector:
    """ProxyStore's `Connector` and `DeferrableConnector`.

    Each put is an artifact of its own, so that evicting one key leaves all others alone; equal content is kept once
    below. Reads are verified. The store is opened by its first use. Whatever `Store` methods are given beyond their own
    keywords comes here: `store.put(obj, ttl=60)`, `store.proxy(obj, ttl=60)`.

    The configuration travels in every proxy. With `url=None` each process takes its own `$COATCHECK_URL`, so that no
    password travels.

    Args:
        url: What `coatcheck.open_store` takes; `None`: `$COATCHECK_URL`.
        run_id: Who leases what is put: `store.delete_by_run(run_id)` gives all of it up. `None`: nobody in particular.
        **options: What else `open_store` takes: `namespace`, `default_ttl`, …
    """

    def __init__(self, url: str | None = None, *, run_id: str | None = None, **options: Any) -> None:
        self._store = LazyStore(url, **options)
        self._run_id = run_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back connections; what was put stays. Idempotent, and whoever goes on connects anew."""
        self._store.close()

    def config(self) -> dict[str, Any]:
        """What `from_config` makes the same connector of, in another process too."""
        return {"url": self._store.url, "run_id": self._run_id, **self._store.options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A connector as `config` describes it."""
        return cls(**config)

    def put(self, obj: Buffer, *, ttl: TtlOrDefault = DEFAULT) -> CoatcheckKey:
        """Store a serialized object; `ttl`: seconds or a `timedelta`, `None` for ever, left out: the store's."""
        key = self.new_key()
        self.set(key, obj, ttl=ttl)
        return key

    def put_batch(self, objs: Sequence[Buffer], *, ttl: TtlOrDefault = DEFAULT) -> list[CoatcheckKey]:
        """`put` for many, together."""
        keys = [self.new_key() for _ in objs]
        items = [Payload(obj, artifact_id=key.artifact_id) for key, obj in zip(keys, objs, strict=True)]
        self._store.get().store_many(items, run_id=self._run_id, ttl=ttl)
        return keys

    def new_key(self, obj: Buffer | None = None) -> CoatcheckKey:  # noqa: ARG002  # the protocol's
        """A key to `set` later; nothing is sent."""
        return CoatcheckKey(f"proxystore-{uuid.uuid4().hex}")

    def set(self, key: CoatcheckKey, obj: Buffer, *, ttl: TtlOrDefault = DEFAULT) -> None:
        """Store the object of a key; once, says the protocol."""
        self._store.get().store(obj, artifact_id=key.artifact_id, run_id=self._run_id, ttl=ttl)

    def get(self, key: CoatcheckKey) -> bytes | None:
        """The serialized object, or `None` where it is absent."""
        artifact = self._store.get().load(key.artifact_id)
        return None if artifact is None else artifact.content

    def get_batch(self, keys: Sequence[CoatcheckKey]) -> list[bytes | None]:
        """`get` for many, together."""
        artifacts = self._store.get().load_many([key.artifact_id for key in keys])
        return [None if artifact is None else artifact.content for artifact in artifacts]

    def exists(self, key: CoatcheckKey) -> bool:
        """Whether the object is there."""
        return self._store.get().exists(key.artifact_id)

    def evict(self, key: CoatcheckKey) -> None:
        """Remove the object; a key that is absent is no error."""
        self._store.get().delete(key.artifact_id)
