"""An index: a directory for each key, in it an empty file for each member."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from ...folders import Folder


class Index:
    """Says where to look. Members may be stale, for a moment or after a crash; none is missing.

    Args:
        folder: Where it lies.
        mode: Permissions of its directories.
    """

    def __init__(self, folder: Folder, mode: int) -> None:
        self._folder = folder
        self._mode = mode

    def all(self) -> Iterator[tuple[str, str]]:
        """Every key with every member."""
        for key in self._folder.names():
            for member in self.members(key):
                yield key, member

    def members(self, key: str) -> list[str]:
        """What is entered under a key, in no order."""
        with suppress(FileNotFoundError), Folder(key, self._folder) as members:
            return members.names()
        return []

    def enter(self, key: str, member: str) -> None:
        """Enter a member, on the disk before this returns."""
        while True:
            self._folder.make(key, self._mode)
            # A directory that was emptied and removed meanwhile takes no files.
            with suppress(FileNotFoundError), Folder(key, self._folder) as members:
                with suppress(FileExistsError):
                    os.close(members.create(member, self._mode & 0o666))
                    members.sync()
                return

    def leave(self, key: str, member: str) -> None:
        """Remove a member, and the key with its last one."""
        with suppress(FileNotFoundError), Folder(key, self._folder) as members:
            members.remove(member)
        self._folder.remove_folder(key)
