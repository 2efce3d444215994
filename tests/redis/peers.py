"""A server of a test's own: it answers each command as the test says, or not."""

from __future__ import annotations

import contextlib
import math
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Words = list[bytes]
Answer = Callable[[Words], "bytes | Iterable[bytes] | None"]
"""Makes the reply to a command, perhaps piece after piece; nothing: there is none."""

LOGIN = {b"HELLO": b"*0\r\n", b"CLIENT": b"+OK\r\n", b"SELECT": b"+OK\r\n", b"AUTH": b"+OK\r\n"}


class Peer:
    """Listens on loopback.

    Args:
        answer: What to reply to what is no part of a login.
        login: Whether logins are answered as by a server.

    Attributes:
        stopping: Set when the peer is to end: whoever makes replies for long looks at it.
        connections: How many there were.
        read: How many connections are read after their login; the others fill up.
    """

    def __init__(self, answer: Answer, *, login: bool = True, read: float = math.inf) -> None:
        self.answer = answer
        self.read = read
        self.stopping = threading.Event()
        self.connections = 0
        self._login = LOGIN if login else {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._clients: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stopping.set()
        for sock in (self._socket, *self._clients):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join(10)

    def slots(self) -> bytes:
        """The reply to CLUSTER SLOTS of a cluster that is this peer."""
        return b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n" % self.port

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._clients.append(client)
            thread = threading.Thread(target=self._talk, args=(client, self.connections <= self.read))
            self._threads.append(thread)
            thread.start()

    def _talk(self, client: socket.socket, reads: bool) -> None:
        with client, client.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            for words in commands(stream):
                reply = self._login.get(words[0].upper())
                if reply is None:
                    reply = self.answer(words)
                elif words[0].upper() == b"HELLO" and not reads:
                    client.sendall(reply)
                    self.stopping.wait()
                    return
                for piece in () if reply is None else (reply,) if isinstance(reply, bytes) else reply:
                    client.sendall(piece)


def commands(stream: Any) -> Iterator[Words]:
    """The commands that come in."""
    while line := stream.readline():
        yield [stream.read(int(stream.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]))]
