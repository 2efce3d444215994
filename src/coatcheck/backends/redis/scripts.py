"""The scripts: loaded from `lua/`, called by hash, sent whole only to a server that doesn't know them yet."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from .wire import Argument, pack

_LUA: Final = files(__package__) / "lua"
_LIB: Final = (_LUA / "lib.lua").read_text(encoding="utf-8")


class Script:
    """One Lua file of `lua/`, with `lib.lua` in front. Its header says what it takes and returns.

    Args:
        name: Of the file.
        library: Another file, to go between the two.
    """

    def __init__(self, name: str, library: str | None = None) -> None:
        self.name = name
        parts = [name] if library is None else [library, name]
        self.source = (_LIB + "".join((_LUA / f"{part}.lua").read_text(encoding="utf-8") for part in parts)).encode()
        self._hash = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[Argument]) -> Call:
        """This script with its arguments, ready to be sent."""
        return Call(self, keys, arguments)

    def head(self, *, by_hash: bool) -> tuple[bytes, bytes]:
        """The beginning of the command: by hash, or with the source."""
        return (b"EVALSHA", self._hash) if by_hash else (b"EVAL", self.source)


class Call:
    """A script call. A server that has lost the script (restart, SCRIPT FLUSH) gets it with `packed(by_hash=False)`."""

    __slots__ = ("arguments", "keys", "script")

    def __init__(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument]) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments

    def packed(self, *, by_hash: bool = True) -> list[bytes]:
        """The command as the server reads it."""
        return pack((*self.script.head(by_hash=by_hash), b"%d" % len(self.keys), *self.keys, *self.arguments))


class Command:
    """A plain command, for what needs no script."""

    __slots__ = ("arguments",)

    def __init__(self, *arguments: Argument) -> None:
        self.arguments = arguments

    def packed(self, *, by_hash: bool = True) -> list[bytes]:  # noqa: ARG002  # the same either way
        """The command as the server reads it."""
        return pack(self.arguments)


class Confirmation(Command):
    """A command that waits until the writes before it are safe; sent again whenever one of those is."""

    __slots__ = ()


STORE: Final = Script("store")
LOAD: Final = Script("load")
METADATA: Final = Script("metadata")
EXISTS: Final = Script("exists")
DELETE: Final = Script("delete")
TOUCH: Final = Script("touch")
RELEASE: Final = Script("release")
LEASES: Final = Script("leases")
LIST_BY_RUN: Final = Script("list_by_run")
RUN_VIEWS: Final = Script("run_views")
LIST_PAGE: Final = Script("list_page")
LIST_RUNS: Final = Script("list_runs")
DELETE_BY_RUN: Final = Script("delete_by_run")
CHECK_ARTIFACT: Final = Script("check_artifact")
CHECK_CONTENT: Final = Script("check_content")
CHECK_INDEX: Final = Script("check_index")
DROP_CONTENT: Final = Script("drop_content")
ALL: Final = tuple(value for value in list(vars().values()) if isinstance(value, Script))
