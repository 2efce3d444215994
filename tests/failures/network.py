"""A network between clients and servers that can be cut: a relay per server."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self

from coatcheck.testing import Server


class Relay:
    """Passes bytes on to a server, or swallows them.

    Args:
        loop: Runs in another thread.
        server: Listens on a TCP port.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, server: Server) -> None:
        self._loop, self._server = loop, server
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._cut = False
        self._listener = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def cut(self) -> None:
        """Swallow everything from now on, on open and new connections."""
        self._cut = True

    def mend(self) -> None:
        """Close all connections, since bytes are missing in them, and pass on those of new ones."""

        async def mend() -> None:
            for writer in self._open:
                writer.transport.abort()
            self._cut = False

        self._run(mend())

    def close(self) -> None:
        async def close() -> None:
            self._listener.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.gather(*self._tasks)

        self._run(close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self._open.add(writer)
        try:
            with contextlib.suppress(OSError):
                server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server.port)
                self._open.add(server_writer)
                try:
                    await asyncio.gather(self._pass_on(reader, server_writer), self._pass_on(server_reader, writer))
                finally:
                    self._open.discard(server_writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()
            self._tasks.discard(asyncio.current_task())

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                if not self._cut:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


class Network:
    """Relays to all servers, on an event loop in a thread."""

    def __init__(self, servers: list[Server]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.to = {server.port: Relay(self._loop, server) for server in servers}

    def url(self, scheme: str) -> str:
        """A URL that names all relays."""
        return f"{scheme}://{','.join(f'127.0.0.1:{relay.port}' for relay in self.to.values())}"

    def announced(self, nodes: str) -> bool:
        """Whether an answer to `CLUSTER NODES` names every relay instead of its node."""
        return all(f":{relay.port}@" in nodes for relay in self.to.values())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for relay in self.to.values():
            relay.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
