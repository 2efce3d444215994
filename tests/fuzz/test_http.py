"""Hostile requests to what answers HTTP, the page and the exporter: an answer, no failure of ours, and nothing changed."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from h11 import LocalProtocolError
from prometheus_client import CollectorRegistry

from coatcheck import ArtifactStore, InMemoryArtifactStore
from coatcheck.ui import app
from coatcheck.watching.exporter import StoreCollector, served

from ..ui.corpus import store_hostile
from .trying import Fuzzer

TOKEN = "hunter2"
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "G\u00e9T", "", "X" * 300]
PATHS = [
    *("/", "/runs", "/artifacts", "/artifacts/{id}", "/artifacts/{id}/content", "/artifacts/{id}/image", "/find"),
    *("/artifacts/{id}/delete", "/artifacts/{id}/release", "/runs/release", "/static/style.css", "/static/{id}"),
    *(
        "/metrics",
        "",
        "//",
        "/..",
        "/static/../pages.py",
        "/artifacts/%2e%2e/content",
        "*",
        "{id}",
        "/artifacts//content",
    ),
]
QUERIES = ["run", "type", "tag", "value", "after", "containing", "done", "q", "name[]", "name[]", ""]
HEADERS = {
    "host": ["localhost", "localhost:1", "evil", "", "[::1", "[::1]:x", "localhost.", "\u00e9", "a" * 9000],
    "authorization": ["Basic eDpodW50ZXIy", "Bearer hunter2", "Bearer \u00e9", "Basic !", "Basic", "", "Basic /w=="],
    "range": [
        "bytes=0-",
        "bytes=-1",
        "bytes=5-2",
        "bytes=99999999999999999999-",
        "bytes=0-0,2-3",
        "bytes=\u0663-",
        "x",
    ],
    "if-range": ['"x"', "", "Wed, 21 Oct 2015 07:28:00 GMT"],
    "if-none-match": ["*", '"x"', "W/", ""],
    "if-modified-since": ["Wed, 21 Oct 2015 07:28:00 GMT", "never", "9" * 40],
    "cookie": ["coatcheck=x", "=", ";;;", 'a="\\"', "x" * 5000],
    "content-type": [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=nonsense",
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "b" * 300,
        "text/plain",
        "",
    ],
    "content-length": ["0", "5", "-1", "x", "9" * 30],
    "transfer-encoding": ["chunked", "gzip", "x"],
    "origin": ["http://localhost", "http://evil", "null", "::"],
    "sec-fetch-site": ["same-origin", "cross-site", ""],
    "accept-encoding": ["gzip", "*;q=x", ""],
    "accept": [
        "application/openmetrics-text",
        "text/plain;version=1.0.0;escaping=x",
        "text/plain;version=1.0.x",
        "*;*",
    ],
}
BODIES = [
    *(b"", b"secret=x&run=a", b"secret=%ff%00&run=" + b"a" * 9000, b"=&&;=%", b"a=1&" * 2000),
    *(
        b'--b\r\nContent-Disposition: form-data; name="secret"; filename="x"\r\n\r\ny\r\n--b--\r\n',
        b"--b\r\n\r\n",
        b"--b",
    ),
]


class Requests(Fuzzer):
    """Makes requests about the artifacts of a store."""

    def __init__(self, name: str, most: int, ids: list[str]) -> None:
        super().__init__(name, most)
        self.ids = ids

    def plain(self) -> str:
        """Any text that UTF-8 has."""
        return self.text().encode(errors="replace").decode()

    def path(self) -> str:
        path = self.chance.choice(PATHS)
        if self.chance.random() < 0.2:
            path += self.plain()
        return path.replace("{id}", self.chance.choice([*self.ids, *self.ids, self.plain(), "0" * 32]))

    def query(self) -> bytes:
        chance = self.chance
        some = [
            f"{chance.choice(QUERIES)}={chance.choice([self.plain(), '%00', '%ff', '%', '-1', '1e9'])}"
            for _ in range(chance.randrange(4))
        ]
        return "&".join(some).encode()

    def headers(self) -> list[tuple[bytes, bytes]]:
        chance = self.chance
        found = {"host": "localhost", "authorization": f"Bearer {TOKEN}"} if chance.random() < 0.8 else {}
        for name in chance.sample(list(HEADERS), chance.randrange(4)):
            found[name] = chance.choice([*HEADERS[name], self.plain()])
        return [(name.encode(), value.encode()) for name, value in found.items()]

    def body(self) -> bytes:
        return self.chance.choice([*BODIES, self.junk()])


async def answered(application: Any, scope: dict[str, Any], pieces: list[bytes]) -> tuple[int, list[Any], bytes]:
    """What an application answers: status, headers and body."""
    coming = iter([*pieces, b""])
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        piece = next(coming, None)
        if piece is None:
            await asyncio.Event().wait()  # whoever asked stays
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    await application(scope, receive, send)
    start, *rest = told
    assert start["type"] == "http.response.start"
    assert not rest[-1].get("more_body")
    return start["status"], start["headers"], b"".join(message.get("body", b"") for message in rest)


@pytest.fixture
def store() -> Iterator[ArtifactStore]:
    with InMemoryArtifactStore() as store:
        yield store


def test_the_page_answers_any_request_and_changes_nothing(store, caplog) -> None:
    ids = store_hostile(store)
    before = [view.to_dict() for view in store.list_all(limit=0)]
    fuzzer = Requests("requests to the page", 300, ids)
    pages = [app(store, allow_delete=True, token=TOKEN), app(store)]

    async def ask() -> None:
        while fuzzer.goes_on:
            path, headers, body = fuzzer.path(), fuzzer.headers(), fuzzer.body()
            scope = {
                "type": "http",
                "asgi": {"version": "3.0"},
                "http_version": "1.1",
                "method": fuzzer.chance.choice(METHODS),
                "scheme": "http",
                "path": path,
                "raw_path": path.encode(),
                "query_string": fuzzer.query(),
                "root_path": "",
                "headers": headers,
                "client": None,
                "server": None,
            }
            fuzzer.tried += 1
            try:
                status, told, _ = await answered(fuzzer.chance.choice(pages), scope, [body[:3], body[3:]])
            except Exception as error:  # noqa: BLE001  # that is the question
                fuzzer.note(f"{scope['method']} {path!r} {scope['query_string']!r} {headers} {body[:99]!r}", error)
                continue
            assert 200 <= status < 500, (status, scope, body)
            assert not any(byte in value for _, value in told for byte in b"\r\n\0"), told

    asyncio.run(ask())
    fuzzer.judge()
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    assert [view.to_dict() for view in store.list_all(limit=0)] == before


def test_an_answer_that_cannot_be_sent_is_no_failure(store, caplog) -> None:
    """A server refuses to send it where whoever asked has broken the rules of HTTP meanwhile."""

    async def send(message: dict[str, Any]) -> None:
        raise RuntimeError("the server has answered already")

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [(b"host", b"localhost")]}
    asyncio.run(app(store)(scope, None, send))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


LINES = ["HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2", "HTTP/9.9", "", "x"]
ENDS = [b"\r\n\r\n"] * 5 + [b"\n\n", b"\r\n", b""]


def spelled(fuzzer: Requests) -> bytes:
    """A request as bytes, or what is none."""
    chance = fuzzer.chance
    if chance.random() < 0.1:
        return fuzzer.junk(200)
    target = (fuzzer.path().encode(), fuzzer.query())
    words = [
        chance.choice(METHODS).encode(),
        b"?".join(target[: chance.randrange(1, 3)]),
        chance.choice(LINES).encode(),
    ]
    lines = [b" ".join(words), *(b": ".join(header) for header in fuzzer.headers())]
    made = b"\r\n".join(lines) + chance.choice(ENDS) + fuzzer.body()
    if chance.random() < 0.2:
        at = chance.randrange(len(made))
        made = made[:at] + fuzzer.junk(3) + made[at + chance.randrange(3) :]
    return made


def exchange(port: int, request: bytes) -> bytes:
    """What comes back until the server closes, or says nothing more to who has finished."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        came = b""
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                came += piece
        except OSError:  # it need not read all of it
            pass
        return came


@pytest.fixture
def exporter(store) -> Iterator[int]:
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    with served(registry, "127.0.0.1", 0) as port:
        yield port


@pytest.fixture
def page(store) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app(store), lifespan="off", ws="none", log_level="warning"))
        thread = threading.Thread(target=asyncio.run, args=[server.serve(sockets=[listener])])
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def is_uvicorns(record: logging.LogRecord) -> bool:
    """uvicorn answers a broken body with 400, also behind the head of another answer, where h11 refuses it."""
    return record.exc_info is not None and isinstance(record.exc_info[1], LocalProtocolError)


@pytest.mark.parametrize("what", ["exporter", "page"])
def test_servers_endure_any_bytes(store, what, request, capfd, caplog) -> None:
    port = request.getfixturevalue(what)
    fuzzer = Requests(f"bytes to the {what}", 100, store_hostile(store))
    while fuzzer.goes_on:
        fuzzer.tried += 1
        sent = spelled(fuzzer)
        assert b" 500 " not in exchange(port, sent).partition(b"\r\n")[0], sent
    fuzzer.judge()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR and not is_uvicorns(record)]
    assert "Traceback" not in capfd.readouterr().err
