"""A primary, its replica, and three Sentinels that watch them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from ..waiting import eventually
from .server import Server

SERVICE: Final = "mymaster"
_START_SECONDS: Final = 60.0


class Sentinels:
    """A primary, its replica and three Sentinels, dropped with everything they wrote.

    Args:
        binary: The server program; as a Sentinel it runs with `--sentinel`.
        options: More of the command line of primary and replica.
        down_after: Seconds after which the primary, when it doesn't answer, is replaced; below 1 they err.
        persistent: As of `Server`, for primary and replica.
    """

    def __init__(self, binary: Path, *options: str, down_after: float = 5.0, persistent: bool = False) -> None:
        self.servers: list[Server] = []
        self.sentinels: list[Server] = []
        with ExitStack() as stack:
            stack.callback(self.stop)
            options = ("--repl-diskless-sync-delay", "0", *options)
            first = Server(binary, *options, tcp=True, persistent=persistent)
            self.servers.append(first)
            following = ("--replicaof", "127.0.0.1", str(first.port))
            self.servers.append(Server(binary, *options, *following, tcp=True, persistent=persistent))
            self._wait_linked()  # Sentinels that come before it look again only after ten seconds
            config = (
                f"sentinel monitor {SERVICE} 127.0.0.1 {first.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} {round(1000 * down_after)}\n"
                f"sentinel failover-timeout {SERVICE} 5000\n"
            )
            for _ in range(3):
                self.sentinels.append(Server(binary, "--sentinel", tcp=True, config=config))
            self.wait_ok()
            stack.pop_all()

    @property
    def url(self) -> str:
        """URL that names all Sentinels and the service."""
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{SERVICE}/0"

    @property
    def primary(self) -> Server:
        """The server to which all Sentinels send clients.

        Raises:
            AssertionError: They didn't come to agree.
        """
        named: set[int] = set()

        def agreed() -> bool:
            named.clear()
            named.update(self._named())
            return len(named) == 1

        eventually(agreed, _START_SECONDS)
        [primary] = [server for server in self.servers if server.port in named]
        return primary

    @property
    def replica(self) -> Server:
        """The other server."""
        primary = self.primary
        [replica] = [server for server in self.servers if server is not primary]
        return replica

    def failover(self) -> None:
        """Let a Sentinel promote the replica, and wait until all agree; the old primary follows ten seconds later."""
        replica = self.replica
        self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        eventually(lambda: self._named() == {replica.port}, _START_SECONDS)

    def wait_ok(self, seconds: float = _START_SECONDS) -> None:
        """Wait until the replica follows the primary, and each Sentinel knows both and the other Sentinels.

        Raises:
            AssertionError: It took longer than that.
        """
        eventually(lambda: all(map(self._knows_all, self.sentinels)), seconds)
        self._wait_linked()

    def _named(self) -> set[int]:
        return {int(one.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)[1]) for one in self.sentinels}

    def _knows_all(self, sentinel: Server) -> bool:
        told: list[Any] = sentinel.ask("SENTINEL", "MASTER", SERVICE)
        known = dict(zip(told[::2], told[1::2], strict=True))
        return (known["flags"], known["num-slaves"], known["num-other-sentinels"]) == ("master", "1", "2")

    def _wait_linked(self) -> None:
        def linked() -> bool:
            roles = sorted((server.ask("ROLE") for server in self.servers), key=lambda role: str(role[0]))
            return [role[0] for role in roles] == ["master", "slave"] and roles[1][3] == "connected"

        eventually(linked, _START_SECONDS)

    def stop(self) -> None:
        """Stop all and remove their directories. Idempotent."""
        for server in (*self.sentinels, *self.servers):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
