"""What a server was asked and what it sent, by its own count."""

from __future__ import annotations

import redis


class Traffic:
    """What the server reads and sends and which commands it runs, from here on."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        first, self.before = self.now(), self.now()
        self.looking = self.before["trips"] - first["trips"]

    def now(self) -> dict[str, int]:
        calls, stats = self.client.info("commandstats"), self.client.info("stats")
        return {
            "gets": sum(calls.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("get", "getrange")),
            "bytes": stats["total_net_output_bytes"],
            "trips": stats["total_reads_processed"],
        }

    @property
    def gets(self) -> int:
        return self.now()["gets"] - self.before["gets"]

    @property
    def bytes(self) -> int:
        return self.now()["bytes"] - self.before["bytes"]

    @property
    def trips(self) -> int:
        return self.now()["trips"] - self.before["trips"] - self.looking
