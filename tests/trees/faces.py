"""Both faces of the functions of trees as one, and a tree with one of everything."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

from coatcheck import (
    ArtifactMetadata,
    AsyncInMemoryArtifactStore,
    InMemoryArtifactStore,
)
from coatcheck.trees import (
    aopen_run,
    aopen_tree,
    astore_tree,
    open_run,
    open_tree,
    store_tree,
)


class Blocking:
    """The functions, on the blocking face."""

    def __init__(self) -> None:
        self.store: Any = InMemoryArtifactStore()

    def put(self, directory: Path, **options: Any) -> ArtifactMetadata:
        return store_tree(directory, self.store, **options)

    def restore(self, ref: Any, directory: Path, **options: Any) -> None:
        open_tree(ref, self.store).restore(directory, **options)

    def restore_part(self, ref: Any, path: str, directory: Path) -> None:
        open_tree(ref, self.store).part(path).restore(directory)

    def restore_run(self, run_id: str, directory: Path) -> None:
        open_run(run_id, self.store).restore(directory)

    def entries(self, ref: Any) -> list:
        return list(open_tree(ref, self.store).entries)

    def read(self, ref: Any, path: str) -> bytes:
        with open_tree(ref, self.store).open(path) as reader:
            return reader.read()

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        return getattr(self.store, name)(*arguments, **options)


class Awaited(Blocking):
    """The same, awaited."""

    def __init__(self) -> None:
        self.store = AsyncInMemoryArtifactStore()

    def put(self, directory: Path, **options: Any) -> ArtifactMetadata:
        return asyncio.run(astore_tree(directory, self.store, **options))

    def restore(self, ref: Any, directory: Path, **options: Any) -> None:
        async def restore() -> None:
            await (await aopen_tree(ref, self.store)).restore(directory, **options)

        asyncio.run(restore())

    def restore_part(self, ref: Any, path: str, directory: Path) -> None:
        async def restore() -> None:
            await (await aopen_tree(ref, self.store)).part(path).restore(directory)

        asyncio.run(restore())

    def restore_run(self, run_id: str, directory: Path) -> None:
        async def restore() -> None:
            await (await aopen_run(run_id, self.store)).restore(directory)

        asyncio.run(restore())

    def entries(self, ref: Any) -> list:
        return list(asyncio.run(aopen_tree(ref, self.store)).entries)

    def read(self, ref: Any, path: str) -> bytes:
        async def read() -> bytes:
            async with await (await aopen_tree(ref, self.store)).open(path) as reader:
                return await reader.read()

        return asyncio.run(read())

    def ask(self, name: str, *arguments: Any, **options: Any) -> Any:
        return asyncio.run(getattr(self.store, name)(*arguments, **options))


def look(directory: Path) -> dict[str, tuple]:
    """Everything that is to come back."""
    found = {".": (stat.S_IMODE(directory.stat().st_mode),)}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = (os.readlink(path),)
        else:
            content = path.read_bytes() if path.is_file() else None
            found[name] = (stat.S_IMODE(path.stat().st_mode), content)
    return found
