"""The scripts: loaded from `lua/`, called by hash, sent whole only to a server that doesn't know them yet."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Final

from ..transport.resp import Argument, Piece, fill, pack, template

_LUA: Final = files(__package__) / "lua"
_LIB_HERE: Final = "-- lib.lua\n"  # a script with a line like this one gets the library there, others at their top


def _definitions() -> dict[str, str]:
    """What the library defines, by name, in its order."""
    text = (_LUA / "lib.lua").read_text(encoding="utf-8")
    found = re.findall(r"^(local (?:function )?(\w+)\b.*?)(?=^(?:local|--)|\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: definition for definition, name in found}


_LIB: Final = _definitions()


def _link(body: str, library: Mapping[str, str] = _LIB) -> str:
    """A script with what it needs of the library: a server makes the functions of a script anew in every call."""
    needed: set[str] = set()
    unread = [body]
    while unread:
        for name in set(re.findall(r"\w+", unread.pop())) & library.keys() - needed:
            needed.add(name)
            unread.append(library[name])
    lib = "".join(definition for name, definition in library.items() if name in needed)
    before, here, after = body.partition(_LIB_HERE)
    return before + lib + after if here else lib + body


class Script:
    """One Lua file of `lua/`, linked with what it needs of `lib.lua`. Its header says what it takes and returns.

    Args:
        name: Of the file.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = _link((_LUA / f"{name}.lua").read_text(encoding="utf-8")).encode()
        self._hash = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[Argument]) -> Call:
        """This script with its arguments, ready to be sent."""
        return Call(self, keys, arguments)

    def prepare(self, keys: Sequence[bytes | None], arguments: Sequence[bytes | None]) -> Prepared:
        """This script with some keys and arguments known beforehand; the `None`s are filled in for each call."""
        return Prepared((b"%d" % len(keys), *keys, *arguments), script=self)

    def head(self, *, by_hash: bool) -> tuple[bytes, bytes]:
        """The beginning of the command: by hash, or with the source."""
        return (b"EVALSHA", self._hash) if by_hash else (b"EVAL", self.source)


class Call:
    """A script call. A server that has lost the script (restart, SCRIPT FLUSH) gets it with `packed(by_hash=False)`."""

    __slots__ = ("arguments", "keys", "script")
    replies = 1
    slot = 0

    def __init__(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Argument]) -> None:
        self.script = script
        self.keys = keys
        self.arguments = arguments

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The command as the server reads it."""
        return pack((*self.script.head(by_hash=by_hash), b"%d" % len(self.keys), *self.keys, *self.arguments))


class Prepared:
    """What is the same in all calls of one kind, packed once.

    Args:
        commands: Plain commands, or the arguments of one script; the `None`s are filled in for each call.
        script: Which one.
    """

    def __init__(self, *commands: Sequence[bytes | None], script: Script | None = None) -> None:
        self.replies = len(commands)
        self._commands = commands
        self._script = script
        self._hashed = self._template(by_hash=True)
        self._whole: bytes | None = None  # made when a server first asks for it

    def _template(self, *, by_hash: bool) -> bytes:
        head = () if self._script is None else self._script.head(by_hash=by_hash)
        return b"".join(template((*head, *arguments)) for arguments in self._commands)

    def call(self, *values: bytes) -> PreparedCall:
        """A call with the open arguments, small ones."""
        return PreparedCall(self, values)

    def packed(self, values: Sequence[bytes], *, by_hash: bool) -> bytes:
        """The command as the server reads it."""
        if by_hash:
            return fill(self._hashed, values)
        if self._whole is None:
            self._whole = self._template(by_hash=False)
        return fill(self._whole, values)


class PreparedCall:
    """One call of what was prepared."""

    __slots__ = ("prepared", "replies", "slot", "values")

    def __init__(self, prepared: Prepared, values: tuple[bytes, ...]) -> None:
        self.slot = 0
        self.prepared = prepared
        self.replies = prepared.replies
        self.values = values

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The command as the server reads it."""
        return [self.prepared.packed(self.values, by_hash=by_hash)]


class Command:
    """A plain command, for what needs no script."""

    __slots__ = ("arguments",)
    replies = 1
    slot = 0

    def __init__(self, *arguments: Argument) -> None:
        self.arguments = arguments

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The command as the server reads it."""
        return pack(self.arguments)


STORE: Final = Script("store")
LOAD: Final = Script("load")
METADATA: Final = Script("metadata")
EXISTS: Final = Script("exists")
CLAIM: Final = Script("claim")
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
EVICTION_POLICY: Final = Script("eviction_policy")
DISCARD: Final = Script("discard")
CHECK_CHUNKS: Final = Script("check_chunks")
ALL: Final = tuple(value for value in list(vars().values()) if isinstance(value, Script))
