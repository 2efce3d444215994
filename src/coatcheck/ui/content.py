"""Contents on their way out. They are hostile: nothing but images of known kinds is shown by the browser itself."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from .preview import image_type
from .words import visible

if TYPE_CHECKING:
    from starlette.requests import Request

    from coatcheck import ArtifactMetadata

    from .lookup import Lookup, Opened

LARGEST_IMAGE: Final = 16 * 1024 * 1024
"""Bytes of the largest content that a page shows as an image."""

_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",
}


class Contents:
    """The routes that give out contents.

    Args:
        lookup: The store.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def download(self, request: Request) -> Response:
        """The content as a file to save, whole or a range of it."""
        opened = await self._open(request)
        headers = {**_HEADERS, "Content-Disposition": f"attachment; {_spelled(file_name(opened.metadata))}"}
        return await _answer(request, opened, "application/octet-stream", headers)

    async def image(self, request: Request) -> Response:
        """The content to be seen, if its first bytes are those of an image that browsers show without executing it."""
        opened = await self._open(request)
        head = b"".join([piece async for piece in opened.pieces(0, min(64, opened.size))])
        kind = image_type(head)
        if kind is None or opened.size > LARGEST_IMAGE:
            await opened.close()
            raise HTTPException(415, "This is not shown as an image: download it.")
        return await _answer(request, opened, kind, {**_HEADERS, "Content-Disposition": "inline"})

    async def _open(self, request: Request) -> Opened:
        opened = await self._lookup.open(request.path_params["id"])
        if opened is None:
            raise HTTPException(404, f"No artifact {request.path_params['id']}.")
        return opened


async def _answer(request: Request, opened: Opened, kind: str, headers: dict[str, str]) -> Response:
    """What was asked for of a content: by the rules of conditional and of range requests."""
    if opened.metadata.digest is not None:
        headers["ETag"] = f'"{opened.metadata.digest}"'
    tag = headers.get("ETag")
    if tag is not None and tag in request.headers.get("if-none-match", ""):
        await opened.close()
        return Response(status_code=304, headers=headers)
    start, stop, status = 0, opened.size, 200
    if request.headers.get("if-range", tag) == tag:
        found = wanted_range(request.headers.get("range", ""), opened.size)
        if found is not None:
            start, stop = found
            if start == stop:
                await opened.close()
                return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{opened.size}"})
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{opened.size}"
    headers["Content-Length"] = str(stop - start)
    pieces = opened.pieces(start, stop)
    if request.method == "HEAD":
        await opened.close()
        return Response(status_code=status, headers=headers, media_type=kind)
    try:
        first = await anext(pieces, b"")  # now, while it can still be said that it is damaged or lost
    except BaseException:
        await opened.close()
        raise
    return StreamingResponse(_body(first, pieces, opened), status, headers, kind)


async def _body(first: bytes, pieces: AsyncIterator[bytes], opened: Opened) -> AsyncIterator[bytes]:
    try:
        yield first
        async for piece in pieces:
            yield piece
    finally:
        await opened.close()


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """Where a range begins and ends; the same place twice: it lies outside; `None`: answer with everything."""
    found = _RANGE.fullmatch(header.strip().replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    start = min(int(first), size)
    return start, min(int(last) + 1, size) if last else size


def given_name(view: ArtifactMetadata) -> str:
    """The name of the file that an artifact was, by its tags `path`, `filename` or `name`; empty if they don't say."""
    path = next((view.tags[tag] for tag in ("path", "filename", "name") if view.tags.get(tag)), "")
    return PurePosixPath(path.replace("\\", "/")).name


def file_name(view: ArtifactMetadata) -> str:
    """The name to save an artifact under: its own without what systems obey, else its id."""
    name = visible(given_name(view)).replace("\\", "_").lstrip(".")[:150]
    return name or view.artifact_id[:64] + (mimetypes.guess_extension(view.content_type) or "")


def _spelled(name: str) -> str:
    """A file name as headers carry it: what is not plain is replaced, and comes whole in a second way of writing."""
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", name)
    return f'filename="{plain}"' if plain == name else f"filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
