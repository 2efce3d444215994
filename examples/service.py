"""A web service for files of any size: upload as a stream, download whole or by ranges, cached by digest.

`COATCHECK_URL=redis://… uvicorn service:app`, then `curl -T film.mp4 -H 'x-run: trip' localhost:8000/files` and
`curl -r 0-99 localhost:8000/files/ID`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from coatcheck import ArtifactError, ArtifactTooLargeError, AsyncArtifactReader, InvalidArtifactError, aopen_store


@asynccontextmanager
async def lifespan(service: FastAPI) -> AsyncIterator[None]:
    async with await aopen_store() as store:  # at $COATCHECK_URL; it connects when it is first asked
        service.state.store = store
        yield


app = FastAPI(lifespan=lifespan)


@app.api_route("/files", methods=["POST", "PUT"])
async def upload(request: Request) -> Response:
    kind = request.headers.get("content-type", "application/octet-stream")
    run = request.headers.get("x-run") or None
    stored = await request.app.state.store.store_file(request.stream(), content_type=kind, run_id=run, ttl=24 * 3600)
    headers = {"location": f"/files/{stored.artifact_id}"}
    return JSONResponse({**stored.ref, "size": stored.size_bytes, "sha256": stored.digest}, 201, headers)


@app.api_route("/files/{artifact_id}", methods=["GET", "HEAD"])
async def download(artifact_id: str, request: Request) -> Response:
    reader = await request.app.state.store.open(artifact_id)
    if reader is None:
        raise HTTPException(404, "there is no such file, or it expired")
    asked, size, tag = request.headers, reader.size, f'"{reader.metadata.digest}"'
    headers = {
        "accept-ranges": "bytes",
        "content-disposition": "attachment",  # nothing that was uploaded runs as a page of ours
        "content-type": reader.metadata.content_type,
        "etag": tag,
        "x-content-type-options": "nosniff",
    }
    start, stop, status = 0, size, 200
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", asked.get("range", ""))
    if tag in asked.get("if-none-match", ""):
        status = 304
    elif wanted and any(wanted.groups()) and asked.get("if-range", tag) == tag:
        first, last = wanted.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(int(last) + 1, size) if first and last else size
        status = 206 if start < stop else 416
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}" if start < stop else f"bytes */{size}"
    if status in (304, 416):
        await reader.aclose()
        return Response(status_code=status, headers=headers)
    headers["content-length"] = str(stop - start)
    return StreamingResponse(pieces(reader, start, stop), status, headers)


async def pieces(reader: AsyncArtifactReader, start: int, stop: int) -> AsyncIterator[bytes]:
    async with reader:
        async for piece in reader.iter_range(start, stop):  # each was verified
            yield piece


@app.exception_handler(ArtifactError)
async def failed(request: Request, error: ArtifactError) -> Response:  # noqa: ARG001
    invalid = 413 if isinstance(error, ArtifactTooLargeError) else 400
    return JSONResponse({"error": str(error)}, invalid if isinstance(error, InvalidArtifactError) else 503)
