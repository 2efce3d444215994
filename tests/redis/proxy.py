"""A proxy in front of a server that does one fault to one command, and knows RESP well enough to say which."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

FAULTS = ("not sent", "half sent", "no reply", "half a reply", "sent twice")


class Cut(Exception):
    """The connection is to be closed."""


class FaultProxy:
    """Listens on a unix socket of its own.

    Args:
        socket_path: Where to listen.
        target: The server's socket.
    """

    def __init__(self, socket_path: Path, target: Path) -> None:
        self.path, self._target = socket_path, target
        self._lock = threading.Lock()
        self.commands = 0
        self._fault: tuple[int, str] | None = None
        self.done = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(socket_path))
        self._listener.listen(64)
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def arm(self, nth: int | None, fault: str = "") -> None:
        """Do the fault to the nth command from now on, once."""
        with self._lock:
            self.commands = 0
            self.done.clear()
            self._fault = None if nth is None else (nth, fault)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()
        self.path.unlink()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._target))
            self._sockets += [client, server]
            thread = threading.Thread(target=self._serve, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        requests, replies = client.makefile("rb"), server.makefile("rb")
        try:
            while True:
                self._pass_on(read_value(requests), client, server, replies)
        except (Cut, OSError, EOFError):
            pass
        finally:
            for sock in (client, server):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            requests.close()
            replies.close()

    def _pass_on(self, request: bytes, client, server, replies) -> None:
        fault = self._next_fault(request)
        if fault == "not sent":
            raise Cut
        if fault == "half sent":
            server.sendall(request[: len(request) // 2])
            raise Cut
        if fault is not None and fault.startswith("-"):  # an error reply instead of what the server would say
            client.sendall(fault.encode() + b"\r\n")
            return
        server.sendall(request)
        reply = read_value(replies)
        if fault == "sent twice":
            server.sendall(request)
            reply = read_value(replies)
        if fault == "no reply":
            raise Cut
        if fault == "half a reply":
            client.sendall(reply[: max(1, len(reply) // 2)])
            raise Cut
        client.sendall(reply)

    def _next_fault(self, request: bytes) -> str | None:
        name = request.split(b"\r\n", 3)[2].upper()
        if name in (b"HELLO", b"CLIENT", b"AUTH", b"SELECT", b"PING"):
            return None
        with self._lock:
            self.commands += 1
            if self._fault is not None and self._fault[0] == self.commands:
                self.done.set()
                return self._fault[1]
        return None


def read_value(stream) -> bytes:
    """The bytes of one RESP value."""
    line = stream.readline()
    if not line.endswith(b"\r\n"):
        raise EOFError
    kind, rest = line[:1], line[1:-2]
    if kind == b"$" and rest != b"-1":
        body = stream.read(int(rest) + 2)
        if len(body) != int(rest) + 2:
            raise EOFError
        return line + body
    if kind == b"*" and rest != b"-1":
        return line + b"".join(read_value(stream) for _ in range(int(rest)))
    return line
