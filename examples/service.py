"""A web service for files of any size: upload as a stream, download whole or by ranges, cached by digest.

`COATCHECK_URL=redis://… uvicorn service:app`, then `curl -T film.mp4 -H 'x-run: trip' localhost:8000/files` and
`curl -r 0-99 localhost:8000/files/ID`. FastAPI takes the same handlers: `api.add_route("/files/{id}", download)`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from coatcheck import ArtifactError, ArtifactTooLargeError, AsyncArtifactReader, InvalidArtifactError, aopen_store


@asynccontextmanager
async def lifespan(service: Starlette) -> AsyncIterator[None]:
    async with await aopen_store() as store:  # at $COATCHECK_URL; it connects when it is first asked
        service.state.store = store
        yield


async def upload(request: Request) -> Response:
    kind = request.headers.get("content-type", "application/octet-stream")
    run = request.headers.get("x-run") or None
    stored = await request.app.state.store.store_file(request.stream(), content_type=kind, run_id=run, ttl=24 * 3600)
    headers = {"location": f"/files/{stored.artifact_id}"}
    return JSONResponse({**stored.ref, "size": stored.size_bytes, "sha256": stored.digest}, 201, headers)


async def download(request: Request) -> Response:
    reader = await request.app.state.store.open(request.path_params["id"])
    if reader is None:
        return JSONResponse({"error": "there is no such file, or it expired"}, 404)
    tag = f'"{reader.metadata.digest}"'
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": "attachment",  # nothing that was uploaded runs as a page of ours
        "content-type": reader.metadata.content_type,
        "etag": tag,
        "x-content-type-options": "nosniff",
    }
    if tag in request.headers.get("if-none-match", ""):
        await reader.aclose()
        return Response(status_code=304, headers=headers)
    start, stop, status = 0, reader.size, 200
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if wanted and any(wanted.groups()) and request.headers.get("if-range", tag) == tag:
        first, last = wanted.groups()
        start = int(first) if first else max(0, reader.size - int(last))
        stop = min(int(last) + 1, reader.size) if first and last else reader.size
        if start >= stop:
            await reader.aclose()
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{reader.size}"})
        status, headers["content-range"] = 206, f"bytes {start}-{stop - 1}/{reader.size}"
    headers["content-length"] = str(stop - start)
    return StreamingResponse(pieces(reader, start, stop), status, headers)


async def pieces(reader: AsyncArtifactReader, start: int, stop: int) -> AsyncIterator[bytes]:
    async with reader:
        async for piece in reader.iter_range(start, stop):  # each was verified
            yield piece


def failed(request: Request, error: Exception) -> Response:  # noqa: ARG001
    status = (
        413 if isinstance(error, ArtifactTooLargeError) else 400 if isinstance(error, InvalidArtifactError) else 503
    )
    return JSONResponse({"error": str(error)}, status)


routes = [Route("/files", upload, methods=["POST", "PUT"]), Route("/files/{id}", download)]
app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={ArtifactError: failed})
