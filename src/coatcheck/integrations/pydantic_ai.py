"""Pydantic AI: media and large tool outputs of agents lie in a coatcheck store (its harness, 0.62 and later).

    from pydantic_ai_harness.tool_output_limits import ToolOutputLimits
    from coatcheck.integrations.pydantic_ai import CoatcheckOverflowStore

    agent = Agent(…, capabilities=[ToolOutputLimits(store=CoatcheckOverflowStore(default_ttl=86_400))])

`CoatcheckMediaStore` is for the media of messages and snapshots.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self

try:
    from pydantic_ai_harness.media import MediaContext, PublicUrlResolver, parse_media_uri
except ImportError as error:
    raise ImportError("Pydantic AI's harness is not installed: pip install 'coatcheck[pydantic_ai]'") from error

from coatcheck import foreign_id

from .opening import LazyAsyncStore

if TYPE_CHECKING:
    from coatcheck import ArtifactMetadata, AsyncArtifactStore

_NONE: Final = MediaContext()
_ID_LENGTH: Final = 32  # of the digest, in a default id
_OUTPUT: Final = "pydantic-ai tool output"


class _Store:
    """What both have in common.

    Args:
        store: A URL as `coatcheck.open_store` takes it, or an open asyncio store; `None`: `$COATCHECK_URL`.
        **options: For `open_store`: `namespace`, `default_ttl`, …
    """

    def __init__(self, store: str | AsyncArtifactStore | None = None, **options: Any) -> None:
        self._store = LazyAsyncStore(store, **options)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._store!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back connections; a store that was given stays open."""
        await self._store.close()


class CoatcheckMediaStore(_Store):
    """The harness' `MediaStore`: media are known by their SHA-256, and kept once whoever put them.

    Each `put` renews the lease and replaces the metadata of `run_id`'s earlier one.

    Args:
        store: A URL as `coatcheck.open_store` takes it, or an open asyncio store; `None`: `$COATCHECK_URL`.
        run_id: Who leases the media: `store.delete_by_run(run_id)` gives all of it up.
        public_url: Makes an address that a model can fetch from a URI and its context; may be a coroutine function.
        **options: For `open_store`: `namespace`, `default_ttl`, …
    """

    def __init__(
        self,
        store: str | AsyncArtifactStore | None = None,
        *,
        run_id: str = "pydantic-ai",
        public_url: PublicUrlResolver | None = None,
        **options: Any,
    ) -> None:
        super().__init__(store, **options)
        self._run_id = run_id
        self._public_url = public_url

    async def put(self, data: bytes, *, context: MediaContext = _NONE) -> str:
        """Store bytes; their URI."""
        store = await self._store.get()
        stored = await store.store(
            data,
            content_type=context.media_type or "application/octet-stream",
            run_id=self._run_id,
            tags=context.metadata,
            extra=None if context.filename is None else {"filename": context.filename},
        )
        return f"media+sha256://{stored.digest}"

    async def get(self, uri: str, *, context: MediaContext = _NONE) -> bytes:  # noqa: ARG002  # the protocol's
        """The bytes, verified.

        Raises:
            ValueError: It is no URI of media.
            FileNotFoundError: Nothing is stored under it, any more.
        """
        digest = parse_media_uri(uri)
        found = await (await self._store.get()).load(digest[:_ID_LENGTH])
        if found is None or found.metadata.digest != digest:
            raise _absent(uri)
        return found.content

    async def exists(self, uri: str, *, context: MediaContext = _NONE) -> bool:  # noqa: ARG002
        """Whether the bytes are there."""
        return await self._found(uri, None) is not None

    async def get_metadata(self, uri: str, *, context: MediaContext = _NONE) -> Mapping[str, str]:  # noqa: ARG002
        """What the latest `put` by this `run_id` said.

        Raises:
            ValueError: It is no URI of media.
            FileNotFoundError: Nothing is stored under it, any more.
        """
        view = await self._found(uri, self._run_id)
        if view is not None:
            return view.tags
        if await self._found(uri, None) is None:
            raise _absent(uri)
        return {}  # somebody else's

    async def public_url(self, uri: str, *, context: MediaContext = _NONE) -> str | None:
        """An address that a model can fetch, if `public_url` was given and makes one."""
        url = None if self._public_url is None else self._public_url(uri, context)
        return await url if inspect.isawaitable(url) else url

    async def _found(self, uri: str, run_id: str | None) -> ArtifactMetadata | None:
        digest = parse_media_uri(uri)
        view = await (await self._store.get()).get_metadata(digest[:_ID_LENGTH], run_id=run_id)
        return view if view is not None and view.digest == digest else None


class CoatcheckOverflowStore(_Store):
    """The harness' `OverflowStore`: tool outputs that were too large for a model's context.

    A handle is the key that it was written under: a run and a tool call. It reaches tool outputs alone, whatever else
    lies in the namespace. The agent's run leases them: `store.delete_by_run(run_id)` gives up what a run has left.

    Args:
        store: A URL as `coatcheck.open_store` takes it, or an open asyncio store; `None`: `$COATCHECK_URL`.
        **options: For `open_store`: `namespace`, `default_ttl`, …
    """

    async def write(self, key: str, data: bytes) -> str:
        """Store an output; its handle."""
        run_id = key.partition("/")[0] or None
        store = await self._store.get()
        await store.store(data, artifact_id=foreign_id(_OUTPUT, key), run_id=run_id, extra={"key": key})
        return key

    async def read(self, handle: str) -> bytes:
        """The output, verified.

        Raises:
            FileNotFoundError: There is none, any more.
        """
        found = await (await self._store.get()).load(foreign_id(_OUTPUT, handle))
        if found is None:
            raise FileNotFoundError(f"no tool output is stored under {handle!r:.200}, or not any more")
        return found.content


def _absent(uri: str) -> FileNotFoundError:
    return FileNotFoundError(f"no media is stored under {uri}, or not any more")
