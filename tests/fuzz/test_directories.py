"""Hostile directories: anything in the place of a file store's files. Errors are ours, and nothing outside is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from coatcheck import ArtifactStore, FileArtifactStore, compute_artifact_id
from coatcheck.keyed import Keyed
from coatcheck.trees import open_run

from .trying import Fuzzer

CONTENTS = [b"one", b"two" * 1000, bytes(3000)]
IDS = [*map(compute_artifact_id, CONTENTS), "name", "other"]


def fill(store: ArtifactStore) -> None:
    for content in CONTENTS:
        store.store(content, run_id="a", tags={"k": "v"})
        store.store(content, run_id="b", ttl=600)
    store.store(CONTENTS[0], artifact_id="name", run_id="a")


def operate(fuzzer: Fuzzer, store: ArtifactStore) -> None:
    chance = fuzzer.chance
    name = chance.choice(IDS)
    calls = {
        "load": lambda: store.load(name),
        "load own": lambda: store.load(name, run_id="a"),
        "load_range": lambda: store.load_range(name, 1, 2),
        "open": lambda: read(store, name),
        "exists": lambda: store.exists(name),
        "get_metadata": lambda: store.get_metadata(name),
        "leases": lambda: store.leases(name),
        "leases_many": lambda: store.leases_many([name]),
        "list_all": lambda: store.list_all(limit=0),
        "list_by_run": lambda: store.list_by_run("a"),
        "list_runs": lambda: store.list_runs(),
        "search": lambda: store.search(tags={"k": "v"}, order="asc"),
        "page": lambda: store.page(limit=2, by=chance.choice(["time", "size", "expiry"])),
        "count": lambda: store.count(tags={"k": "v"}),
        "facets": lambda: store.facets("tag:k"),
        "metadata_many": lambda: store.metadata_many(IDS),
        "load_many": lambda: store.load_many(IDS),
        "run_stats": lambda: store.run_stats("a"),
        "run_stats_many": lambda: store.run_stats_many(["a", "b"]),
        "link": lambda: store.link(name, "linked", run_id="a"),
        "update": lambda: store.update_metadata(name, run_id="a", tags={"new": "tag"}),
        "update_many": lambda: store.update_many(IDS, run_id="a", extra=lambda old: {**old, "n": 1}),
        "touch_run": lambda: store.touch_run("a", 600),
        "expire_run": lambda: store.expire_run("b", 600),
        "delete_many": lambda: store.delete_many(IDS[:2]),
        "delete_where": lambda: store.delete_where(run_id="b", dry_run=False),
        "keyed set": lambda: Keyed(store, "a").set("key", chance.choice(CONTENTS)),
        "keyed": lambda: Keyed(store, "a").entries(),
        "open_run": lambda: open_run("a", store),
        "stats": lambda: store.stats(),
        "check": lambda: store.check(read_data=True, repair=chance.random() < 0.3, grace=0),
        "gc": lambda: store.gc(dry_run=False, grace=0),
        "store": lambda: store.store(chance.choice(CONTENTS), run_id=chance.choice("abc")),
        "store explicit": lambda: store.store(chance.choice(CONTENTS), artifact_id="name", run_id="a"),
        "touch": lambda: store.touch(name, 600, "a"),
        "release": lambda: store.release(name, "b"),
        "delete": lambda: store.delete(name),
        "delete_by_run": lambda: store.delete_by_run("b"),
        "acquire": lambda: store.find_missing(IDS, ttl=60, run_id="c"),
    }
    what = chance.choice(list(calls))
    fuzzer.attempt(f"{what} {name}", calls[what])


def read(store: ArtifactStore, name: str) -> None:
    reader = store.open(name)
    if reader is not None:
        with reader:
            reader.read()


def harm(fuzzer: Fuzzer, base: Path, outside: Path) -> None:
    """Put something in the place of one of the files, or beside it."""
    chance = fuzzer.chance
    places = sorted(path for path in base.rglob("*") if not path.is_symlink())
    if not places:
        return
    path = chance.choice(places)
    if chance.random() < 0.3:
        path = path.parent / chance.choice(
            ["x", f"{IDS[0]}.json", "0" * 64 + ".bin", "name.json", ".part", "é", "name.bin"]
        )
    how = chance.choice(
        ["junk", "cut", "flip", "remove", "directory", "link", "dead link", "fifo", "splice", "copy", "closed"]
    )
    old = path.read_bytes() if path.is_file() and how in ("cut", "flip", "splice") else b""
    if path.is_dir() and not path.is_symlink():
        if how not in ("remove", "link", "junk") or path == base:
            return
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    at = chance.randrange(len(old) + 1)
    if how == "junk":
        path.write_bytes(fuzzer.junk(300))
    elif how == "cut":
        path.write_bytes(old[:at])
    elif how == "flip":
        path.write_bytes(
            old[:at] + bytes([(old[at] ^ 1 << chance.randrange(8))]) + old[at + 1 :] if at < len(old) else b""
        )
    elif how == "splice":
        path.write_bytes(
            old[:at] + chance.choice([b'"', b"}", b"null", b"1e999", b"\0", b"\\ud800", b"[[[["]) + old[at:]
        )
    elif how == "directory":
        path.mkdir()
    elif how == "link":
        path.symlink_to(chance.choice([outside / "file", outside, base, path.parent]))
    elif how == "dead link":
        path.symlink_to(outside / "nowhere")
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "copy":
        files = [other for other in places if other.is_file()]
        if files:
            shutil.copyfile(chance.choice(files), path)
    elif how == "closed":
        path.write_bytes(b"{}")
        path.chmod(0)


def seen(outside: Path) -> list[tuple[str, bytes, int]]:
    return sorted((path.name, path.read_bytes(), path.stat().st_mode) for path in outside.iterdir())


@pytest.mark.parametrize("indexed", [True, False], ids=["indexed", "beside AbstractRuntime"])
def test_any_directory_is_endured(tmp_path, indexed) -> None:
    fuzzer = Fuzzer(f"directories, {'' if indexed else 'not '}indexed", 1500)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"outside")
    before = seen(outside)
    while fuzzer.goes_on:
        base = tmp_path / "store"
        with FileArtifactStore(base) as store:
            fill(store)
        if not indexed:
            for path in base.rglob("artifact_catalog*"):
                path.unlink()
            ((base / "artifacts") if (base / "artifacts").is_dir() else base).joinpath(
                "artifact_catalog.sqlite3"
            ).touch()
        for _ in range(fuzzer.chance.randrange(1, 5)):
            harm(fuzzer, base, outside)
        store = fuzzer.attempt("opening it", lambda: FileArtifactStore(base))
        if store is not None:
            for _ in range(40):
                operate(fuzzer, store)
            store.close()
        assert seen(outside) == before
        shutil.rmtree(base)
    fuzzer.judge()
