"""Large content: `python -m benchmarks.streaming`. Memory of the client, speed next to bare redis-py, other clients.

Part one stores and reads one file many times, and compares with SET, GET and one SHA-256 of the same bytes. Part two
passes a content of many gibibytes through a store, while another client loads small artifacts and measures how long
each takes. Clients are processes of their own, so that their memory is theirs alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, Self

import redis
import xxhash
from redis.connection import Encoder, PythonRespSerializer

from coatcheck import RedisArtifactStore

from .server import NoServerError, Server, machine

MIB = 1024 * 1024
SPAWN = multiprocessing.get_context("spawn")


class Pattern(io.RawIOBase):
    """A seekable stream of any length that does not compress and takes no disk: one random block, and each place's
    own number in front of it."""

    def __init__(self, size: int) -> None:
        self._block = memoryview(os.urandom(MIB))
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        number, offset = divmod(self._position, MIB)
        count = min(len(buffer), MIB - offset, self._size - self._position)
        buffer[:count] = self._block[offset : offset + count]
        if offset == 0 and count >= 8:
            buffer[:8] = number.to_bytes(8)
        self._position += count
        return count


def resident(field: str) -> int:
    """`VmRSS` or `VmHWM` of this process in bytes (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


class Peak:
    """The most memory that a block of code takes over what was resident before it."""

    def __enter__(self) -> Self:
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        self._idle = resident("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.mib = (resident("VmHWM") - self._idle) / MIB


def timed(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def in_process(target: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function that runs in a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_answer, args=(theirs, target, arguments))
    process.start()
    theirs.close()
    try:
        result = ours.recv()
    except EOFError:
        raise SystemExit("a measuring process died") from None
    process.join()
    return result


def _answer(pipe: Any, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    pipe.send(target(*arguments))


# Part one ------------------------------------------------------------------------------------------------------------


def drain(store: RedisArtifactStore, artifact_id: str) -> None:
    reader = store.open(artifact_id)
    assert reader is not None
    with reader:
        while reader.read(MIB):
            pass


def memory(url: str, path: str, way: str) -> float:
    """MiB over idle, in a process that has done nothing else that is large."""
    with RedisArtifactStore(url, namespace="memory") as store:
        store.load(store.store(b"warm" * 30_000).artifact_id)
        with Path(path).open("rb") as file:
            artifact_id = hashlib.file_digest(file, "sha256").hexdigest()[:32]
        with Peak() as peak:
            if way == "store_file":
                store.store_file(path)
            else:
                drain(store, artifact_id)
        if way == "open":
            store.delete(artifact_id)
    return peak.mib


def speed(url: str, connection: dict[str, Any], path: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, alternating."""
    content = Path(path).read_bytes()
    packer = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode)
    kind = redis.UnixDomainSocketConnection if "unix_socket_path" in connection else redis.Connection
    options = {"path": connection["unix_socket_path"]} if "unix_socket_path" in connection else connection
    client = redis.Redis(
        connection_pool=redis.ConnectionPool(connection_class=kind, command_packer=packer, protocol=2, **options)
    )
    store = RedisArtifactStore(url, namespace="speed")
    artifact_id = hashlib.sha256(content).hexdigest()[:32]
    ways: dict[str, Callable[[], object]] = {
        "SET + SHA-256": lambda: (hashlib.sha256(content), client.set("floor", content)),
        "store_file": lambda: store.store_file(path),
        "store": lambda: store.store(content),
        "GET + SHA-256": lambda: hashlib.sha256(client.get("floor")),
        "open, read 1 MiB": lambda: drain(store, artifact_id),
        "load": lambda: store.load(artifact_id),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):
        for name, way in ways.items():
            if name.startswith("store"):
                store.delete(artifact_id)
            if name.startswith("SET"):
                client.unlink("floor")
            while client.info("memory")["lazyfree_pending_objects"]:
                time.sleep(0.001)
            taken = timed(way)
            if number >= 0:
                seconds[name].append(taken)
    store.delete(artifact_id)
    client.delete("floor")
    return seconds


# Part two ------------------------------------------------------------------------------------------------------------


def neighbour(url: str, stop: Any, latencies: Any) -> None:
    """Another client: loads a small artifact again and again; sends (when, how long) in seconds."""
    seen = []
    with RedisArtifactStore(url, namespace="neighbour") as store:
        artifact_id = store.store(os.urandom(1024)).artifact_id
        while not stop.is_set():
            begin = time.perf_counter()
            store.load(artifact_id)
            seen.append((time.time(), time.perf_counter() - begin))
            time.sleep(0.0005)
    latencies.send(seen)


def through(url: str, size: int) -> dict[str, Any]:
    """Store a content of that size and read it back; peaks over idle, and when which phase was."""
    with RedisArtifactStore(url, namespace="through") as store:
        store.load(store.store(b"warm" * 30_000).artifact_id)
        source = Pattern(size)
        begin = time.time()
        sent_from = begin

        def watch(_done: int, total: int | None) -> None:
            nonlocal sent_from
            if total is None:
                sent_from = time.time()

        with Peak() as storing:
            stored = store.store_file(source, progress=watch)
        middle = time.time()
        with Peak() as reading:
            reader = store.open(stored.artifact_id)
            assert reader is not None
            buffer, found = bytearray(4 * MIB), xxhash.xxh3_64()
            while count := reader.readinto(buffer):
                found.update(memoryview(buffer)[:count])
            assert reader.read(1) == b""
        end = time.time()
        store.delete(stored.artifact_id)
        source.seek(0)
        wanted = xxhash.xxh3_64()
        while count := source.readinto(buffer):
            wanted.update(memoryview(buffer)[:count])
        assert found.digest() == wanted.digest()
    return {
        "peaks": {"store_file": storing.mib, "open": reading.mib},
        "phases": {"hashing": (begin, sent_from), "sending": (sent_from, middle), "reading": (middle, end)},
    }


def quantiles(latencies: list[float]) -> tuple[float, float, float]:
    """Median, 99th percentile, largest; in milliseconds."""
    ordered = sorted(latencies)
    return tuple(1e3 * ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.99, 1))  # type: ignore[return-value]


def beside(url: str, size: int) -> dict[str, Any]:
    stop, (ours, theirs) = SPAWN.Event(), SPAWN.Pipe()
    process = SPAWN.Process(target=neighbour, args=(url, stop, theirs))
    process.start()
    time.sleep(5)
    begin = time.time()
    time.sleep(5)
    idle = (begin, time.time())
    result = in_process(through, url, size)
    stop.set()
    seen = ours.recv()
    process.join()
    phases = {"idle": idle, **result["phases"]}
    result["latency_ms"] = {
        name: quantiles([taken for when, taken in seen if first <= when < last])
        for name, (first, last) in phases.items()
    }
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--engine", choices=("valkey", "redis"), default="valkey")
    parser.add_argument("--tcp", action="store_true", help="TCP loopback instead of a unix socket")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mib", type=int, default=256, help="size for part one")
    parser.add_argument("--gib", type=float, default=6, help="size for part two; 0 leaves it out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped on the way out
    try:
        server = Server(arguments.engine, tcp=arguments.tcp)
    except NoServerError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"server": server.version, "transport": server.transport, **machine()}
    with server, tempfile.NamedTemporaryFile(prefix="coatcheck-bench-") as file:
        for _ in range(arguments.mib):
            file.write(os.urandom(MIB))
        file.flush()
        print(f"{server.version}, {server.transport}")
        results["peaks_mib"] = {way: in_process(memory, server.url, file.name, way) for way in ("store_file", "open")}
        for name, mib in results["peaks_mib"].items():
            print(f"{arguments.mib} MiB {name}: peak {mib:.1f} MiB over idle")
        results["seconds"] = in_process(speed, server.url, server.connection, file.name, arguments.rounds)
        for name, floor in [
            ("store_file", "SET + SHA-256"),
            ("store", "SET + SHA-256"),
            ("open, read 1 MiB", "GET + SHA-256"),
            ("load", "GET + SHA-256"),
        ]:
            own, other = results["seconds"][name], results["seconds"][floor]
            ratios = sorted(a / b for a, b in zip(own, other, strict=True))
            print(
                f"{arguments.mib} MiB {name}: {1e3 * median(own):.0f} ms, {median(ratios):.2f} x {floor} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        if arguments.gib:
            results["large"] = beside(server.url, int(arguments.gib * 1024) * MIB)
            for name, mib in results["large"]["peaks"].items():
                print(f"{arguments.gib:g} GiB {name}: peak {mib:.1f} MiB over idle")
            for name, (first, last) in results["large"]["phases"].items():
                print(f"{arguments.gib:g} GiB {name}: {last - first:.1f} s")
            for name, (half, most, worst) in results["large"]["latency_ms"].items():
                print(f"small loads, {name}: median {half:.2f} ms, p99 {most:.2f} ms, worst {worst:.2f} ms")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
