"""FastMCP: large results of tools become resource links; clients read them when they need them (extra `fastmcp`).

from fastmcp import FastMCP
from coatcheck.integrations.fastmcp import CoatcheckMiddleware

server = FastMCP("reports", middleware=[CoatcheckMiddleware("redis://localhost:6379/0", ttl=3600)])
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

try:
    from fastmcp.exceptions import NotFoundError
    from fastmcp.resources import ResourceContent, ResourceResult
    from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
    from fastmcp.tools.base import Tool, ToolResult
    from mcp_types import AudioContent, ContentBlock, ImageContent, ResourceLink, TextContent
except ImportError as error:
    raise ImportError("FastMCP is not installed: pip install 'coatcheck[fastmcp]'") from error

from coatcheck import InvalidArtifactError
from coatcheck.keyed import AsyncKeyed

from .opening import LazyAsyncStore

if TYPE_CHECKING:
    from coatcheck import AsyncArtifactStore

SCHEME: Final = "coatcheck://results/"
_TOKEN: Final = 24  # bytes of chance in a link, so that nobody guesses it


class CoatcheckMiddleware(Middleware):
    """Keeps blocks of results that are large, hands out links in their place, and answers who reads them.

    A link holds a secret: who has it can read that result, on any server with this store, and nothing else. Equal
    results are kept once. What is small, errors, and blocks of other kinds pass through. The structured content of a
    tool one of whose blocks went is left out, and so are output schemas of tools.

    Args:
        url: A URL as `coatcheck.open_store` takes it, or an open asyncio store; `None`: `$COATCHECK_URL`.
        threshold: Bytes of a text, an image or audio from which on a link goes out.
        ttl: Seconds or a `timedelta` that a result can be read; `None`: for ever.
        preview: Characters of a text that its link shows.
        tools: Names of tools whose results are looked at; `None`: all.
        collection: The run that leases results.
        **options: For `open_store`: `namespace`, …
    """

    def __init__(
        self,
        url: str | AsyncArtifactStore | None = None,
        *,
        threshold: int = 64 * 1024,
        ttl: float | timedelta | None = 86_400,
        preview: int = 500,
        tools: Collection[str] | None = None,
        collection: str = "fastmcp",
        **options: Any,
    ) -> None:
        _check("threshold", threshold, 1)
        _check("preview", preview, 0)
        self._lazy = LazyAsyncStore(url, **options)
        self._threshold, self._ttl, self._preview = threshold, ttl, preview
        self._tools = None if tools is None else frozenset(tools)
        self._collection = collection

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lazy!r})"

    async def close(self) -> None:
        """Give back connections; a store that was given stays open."""
        await self._lazy.close()

    def _concerns(self, tool: str) -> bool:
        return self._tools is None or tool in self._tools

    async def on_list_tools(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Sequence[Tool]:
        """Promise no structured content where a link may come instead."""
        return [
            tool.model_copy(update={"output_schema": None}) if self._concerns(tool.name) else tool
            for tool in await call_next(context)
        ]

    async def on_call_tool(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> ToolResult:
        """Put links in the place of what is large."""
        result = await call_next(context)
        name = context.message.name
        if type(result) is not ToolResult or result.is_error or not self._concerns(name):
            return result
        blocks = [await self._linked(block, name) for block in result.content]
        if all(old is new for old, new in zip(result.content, blocks, strict=True)):
            return result
        return ToolResult(content=blocks, meta=result.meta)

    async def _linked(self, block: ContentBlock, tool: str) -> ContentBlock:
        """A link to a block, or the block if it is small."""
        if isinstance(block, TextContent):
            content, kind = block.text.encode(), "text/plain"
        elif isinstance(block, ImageContent | AudioContent):
            content, kind = base64.b64decode(block.data), block.mime_type
        else:
            return block
        if len(content) < self._threshold:
            return block
        token = secrets.token_urlsafe(_TOKEN)
        keyed = AsyncKeyed(await self._lazy.get(), self._collection)
        await keyed.set(token, content, content_type=kind, ttl=self._ttl, tags={"tool": tool})
        shown = f"{kind}, {len(content):,} bytes: read this resource for all of it."
        if isinstance(block, TextContent) and self._preview:
            shown = f"{shown} It begins:\n{block.text[: self._preview]}"
        return ResourceLink(
            type="resource_link",
            uri=f"{SCHEME}{token}",
            name=tool,
            description=shown,
            mime_type=kind,
            size=len(content),
            annotations=block.annotations,
        )

    async def on_read_resource(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> ResourceResult:
        """Answer for our links.

        Raises:
            NotFoundError: The result has expired, or there never was one.
        """
        uri = str(context.message.uri)
        if not uri.startswith(SCHEME):
            result: ResourceResult = await call_next(context)
            return result
        keyed = AsyncKeyed(await self._lazy.get(), self._collection)
        token = uri.removeprefix(SCHEME)
        found = await keyed.get(token) if token else None
        if found is None:
            raise NotFoundError(f"there is no {uri}: it has expired, or never was; call the tool again")
        kind = found.content_type
        return ResourceResult([ResourceContent(found.as_text() if kind == "text/plain" else found.content, kind)])


def _check(name: str, number: Any, least: int) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise InvalidArtifactError(f"{name} must be an int of at least {least}, not {number!r}")
