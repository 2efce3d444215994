"""What the blocking and the awaited face of a store have in common: how they are made, and reopened elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, Unpack

from .arguments import spelled_out
from .backends.redis import RedisBackend, RedisKeywords, RedisOptions, Target, told
from .events import OnEvent, watched
from .operations import Operations

if TYPE_CHECKING:
    from .arguments import Ttl
    from .backends.base import Backend
    from .cache import CacheInfo

Client = TypeVar("Client")


class Face:
    """A store over a `Backend`.

    Args:
        backend: Where artifacts lie.
        default_ttl: For `store` calls that name none: seconds, a `timedelta`, or `None` for ever.
        on_event: Told of each operation at its end, see `Event`; left out: nobody is, and nothing is measured.
    """

    _shown = ""  # where it lies: what `repr` shows, never a password

    def __init__(self, backend: Backend, *, default_ttl: Ttl = None, on_event: OnEvent | None = None) -> None:
        self._operations = watched(Operations(backend, default_ttl), on_event)
        self._closed = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"


class RedisFace(Face, Generic[Client]):
    """A store on a Redis or Valkey server, or on a cluster; documented on `RedisArtifactStore`."""

    _target_class: ClassVar[type[Target]]

    @spelled_out(RedisOptions)
    def __init__(
        self,
        url_or_client: str | Client | None = None,
        *,
        namespace: str = RedisOptions.namespace,
        default_ttl: Ttl = None,
        on_event: OnEvent | None = None,
        **options: Unpack[RedisKeywords],
    ) -> None:
        place, said = told(url_or_client)
        chosen = RedisOptions(namespace=namespace, **{**options, **said})
        self._target = self._target_class.of(place, tls=chosen.tls, timeout=chosen.timeout)
        self._options = {**chosen.as_dict(), "default_ttl": default_ttl, "on_event": on_event}
        self._shown = f"{self._target.shown}, namespace={namespace!r}"
        self._redis = RedisBackend(self._target.transport(), chosen)
        super().__init__(self._redis, default_ttl=default_ttl, on_event=on_event)
        self._begin()

    def _begin(self) -> None:
        """What a store does as soon as it is made."""

    def cache_info(self) -> CacheInfo:
        """Hits, misses and bytes of this store's content cache. Nobody is asked, so it is never awaited."""
        return self._redis.cache_info()

    def __reduce__(self) -> Any:
        return reopen, (type(self), self._target.picklable(), self._options)


def reopen(store: type[Face], place: Any, options: dict[str, Any]) -> Face:
    """Open a store again, in the process that its pickle was sent to; `place`: where it lies, or a call that tells."""
    return store(place() if callable(place) else place, **options)
