"""A namespace of 64 partitions on one server: with its data the server becomes the first node of a cluster."""

from __future__ import annotations

from coatcheck import RedisArtifactStore
from coatcheck.testing import Server, eventually

from ..conftest import binary_of


def test_what_one_server_has_in_64_partitions_is_there_on_the_cluster_that_it_becomes() -> None:
    server = Server(binary_of("valkey"), tcp=True, persistent=True)
    try:
        with RedisArtifactStore(server.url, partitions=64) as store:
            stored = store.store_many([b"%d" % number for number in range(600)], run_id="a", ttl=600)
        server.kill()
        server._command += ["--cluster-enabled", "yes"]
        server.start()
        taken = {slot for first, last, *_ in server.ask("CLUSTER", "SLOTS") for slot in range(first, last + 1)}
        server.ask("CLUSTER", "ADDSLOTS", *(slot for slot in range(16384) if slot not in taken))
        eventually(lambda: "cluster_state:ok" in server.ask("CLUSTER", "INFO"))

        with RedisArtifactStore(f"redis+cluster://{server.address}") as store:
            assert len(taken) == 64  # by what lies in them
            assert [artifact.content for artifact in store.load_many(stored)] == [b"%d" % n for n in range(600)]
            assert len(store.list_by_run("a")) == 600
            assert store.check().ok
    finally:
        server.stop()
