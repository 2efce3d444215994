"""Scripts and plain commands as the transport sends them: each knows its slot, and what its replies mean."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Final, Generic, TypeVar

from ....ids import ID_LENGTH
from ..transport.base import MakeLarge
from ..transport.resp import Argument, Piece, fill, merge, pack, split, template

T = TypeVar("T")
One = TypeVar("One")
Other = TypeVar("Other")

LUA: Final = files(__package__) / "lua"
_INCLUDE: Final = re.compile(r"^ *-- @include (\w+)\n", re.MULTILINE)
ANY_ID: Final = b"?" * ID_LENGTH
"""Stands for an id where a form is made; no key has it in its name otherwise."""

_KEY: Final = re.compile(rb"\$(\d+)\r\n([^\r]*)" + re.escape(ANY_ID))

_FILLED: Final = 512 * 1024  # bytes up to which a command is made by one formatting operation, which copies them


def same(reply: Any) -> Any:
    """Decodes a reply that means what it is."""
    return reply


def first(replies: Sequence[Any]) -> Any:
    """Decodes the only reply of a form."""
    return replies[0]


def link(text: str) -> str:
    """A script with the files of `lua/lib/` that it includes, each once, before what needs it."""
    included: set[str] = set()

    def include(match: re.Match[str]) -> str:
        name = match[1]
        if name in included:
            return ""
        included.add(name)
        return _INCLUDE.sub(include, (LUA / "lib" / f"{name}.lua").read_text(encoding="utf-8"))

    return _INCLUDE.sub(include, text)


class Script:
    """One file of `lua/`. Its header says what it takes and returns; `calls` has a typed function for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._form = cache(self._make_form)

    @cached_property
    def source(self) -> bytes:
        """What a server is sent. Read when it is first needed: no process runs all scripts."""
        return link((LUA / f"{self.name}.lua").read_text(encoding="utf-8")).encode()

    @cached_property
    def digest(self) -> bytes:
        """The name that a server gives it: SHA-1 of the source in hex."""
        return hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def _make_form(self, keys: int, arguments: int) -> bytes:
        return template((b"EVALSHA", self.digest, b"%d" % keys, *(None,) * (keys + arguments)))

    def packed(self, keys: Sequence[bytes], arguments: Sequence[bytes], *, by_hash: bool) -> list[Piece]:
        """The command as the server reads it."""
        if by_hash:
            values = (*keys, *arguments)
            if sum(map(len, values)) <= _FILLED:
                return [fill(self._form(len(keys), len(arguments)), values)]
            return pack((b"EVALSHA", self.digest, b"%d" % len(keys), *values))
        return pack((b"EVAL", self.source, b"%d" % len(keys), *keys, *arguments))


class Call(Generic[T]):
    """One script call, and what its reply means.

    Args:
        script: Which script.
        slot: The slot of its keys.
        keys: All that its decisions depend on.
        arguments: As the script's header says.
        decode: Makes something of the reply.
        first: A plain command for the same slot that goes before it.
    """

    __slots__ = ("_arguments", "_decode", "_first", "_keys", "_script", "replies", "slot")
    slow = False
    inert = False
    large = None

    def __init__(
        self,
        script: Script,
        slot: int,
        keys: Sequence[bytes],
        arguments: Sequence[bytes],
        decode: Callable[[Any], T],
        first: Sequence[Argument] | None = None,
    ) -> None:
        self.slot = slot
        self.replies = 1 if first is None else 2
        self._script = script
        self._keys = keys
        self._arguments = arguments
        self._decode = decode
        self._first = first

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The command as the server reads it."""
        packed = self._script.packed(self._keys, self._arguments, by_hash=by_hash)
        return packed if self._first is None else list(merge([pack(self._first), packed]))

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies mean."""
        return self._decode(replies[-1])

    def then(self, change: Callable[[T], Other]) -> Call[Other]:
        """The same call, of which something else is made."""
        decode = self._decode
        return Call(
            self._script, self.slot, self._keys, self._arguments, lambda reply: change(decode(reply)), self._first
        )


class Later(Generic[T]):
    """A call that is made when it is sent: the server works on one while the next is made.

    Args:
        slot: See `Call`.
        replies: How many it has.
        make: Makes the call.
        decode: As its `decode`.
    """

    __slots__ = ("_decode", "_make", "replies", "slot")
    slow = True
    inert = False
    large = None

    def __init__(
        self, slot: int, replies: int, make: Callable[[], Call[Any] | Filled[Any]], decode: Callable[[Any], T]
    ) -> None:
        self.slot = slot
        self.replies = replies
        self._make = make
        self._decode = decode

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The command as the server reads it."""
        return self._make().packed(by_hash=by_hash)

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies mean."""
        return self._decode(replies[-1])


class Chained(Generic[T]):
    """Two calls for one slot that are sent, and sent again, together: the second never before the first."""

    __slots__ = ("_first", "_second", "replies", "slot")
    slow = False
    inert = False
    large = None

    def __init__(self: Chained[tuple[One, Other]], first: Call[One], second: Call[Other]) -> None:
        self.slot = first.slot
        self.replies = first.replies + second.replies
        self._first = first
        self._second = second

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The commands as the server reads them."""
        return list(merge([self._first.packed(by_hash=by_hash), self._second.packed(by_hash=by_hash)]))

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies of each mean."""
        own = self._first.replies
        both: Any = self._first.read(replies[:own]), self._second.read(replies[own:])
        return both  # type: ignore[no-any-return]


class Form:
    """Plain commands of one kind, packed once; their `None`s are filled in for each call."""

    def __init__(self, *commands: Sequence[bytes | None]) -> None:
        self.replies = len(commands)
        self._template = b"".join(map(template, commands))

    def packed(self, values: Sequence[bytes], *, by_hash: bool) -> bytes:  # noqa: ARG002  # the same either way
        """The commands as the server reads them."""
        return fill(self._template, values)


class ScriptForm:
    """Calls of one script that are mostly the same. What is filled in: ids in keys, lengths and bytes of arguments.

    Args:
        script: The script.
        keys: With `ANY_ID` in place of default ids.
        arguments: With `None` in place of what is filled in.
    """

    replies = 1

    def __init__(self, script: Script, keys: Sequence[bytes], arguments: Sequence[bytes | None]) -> None:
        self._words = (b"%d" % len(keys), *keys, *arguments)
        self._source = script.source
        self._template = self._begun(b"EVALSHA", script.digest)

    def _begun(self, *start: bytes) -> bytes:
        return template((*start, *self._words)).replace(ANY_ID, b"%b")

    def packed(self, values: Sequence[int | bytes], *, by_hash: bool) -> bytes:
        """The call as the server reads it."""
        return (self._template if by_hash else self._begun(b"EVAL", self._source)) % tuple(values)


class Filled(Generic[T]):
    """Commands made from a form, with small values.

    Args:
        form: The form.
        slot: See `Call`.
        values: What is filled in.
        decode: Takes the replies of the form.
        large: See `Sendable`.
        first: See `Call`.
    """

    __slots__ = ("_decode", "_first", "_form", "_values", "large", "replies", "slot")
    slow = False
    inert = False

    def __init__(
        self,
        form: Form | ScriptForm,
        slot: int,
        values: Sequence[Any],
        decode: Callable[[Any], T],
        large: MakeLarge | None = None,
        first: Sequence[Argument] | None = None,
    ) -> None:
        self.large = large
        self.slot = slot
        self.replies = form.replies if first is None else form.replies + 1
        self._form = form
        self._values = values
        self._decode = decode
        self._first = first

    def packed(self, *, by_hash: bool = True) -> list[Piece]:
        """The commands as the server reads them."""
        packed: list[Piece] = [self._form.packed(self._values, by_hash=by_hash)]
        return packed if self._first is None else list(merge([pack(self._first), packed]))

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies mean."""
        return self._decode(replies if self._first is None else replies[1:])


class IdForm(Form):
    """Plain commands about artifacts, or runs: only an id, or the name of the run, is filled in.

    Args:
        *commands: With `ANY_ID` in place of the id.
    """

    def __init__(self, *commands: Sequence[bytes]) -> None:
        self.replies = len(commands)
        packed = b"".join(piece for command in commands for piece in pack(command))
        self._around = packed.split(ANY_ID)
        self._template = _KEY.sub(rb"$%d\r\n\2%b", packed.replace(b"%", b"%%"))
        self._lengths = [int(length) - ID_LENGTH for length, _ in _KEY.findall(packed)]

    def packed(self, values: Sequence[bytes], *, by_hash: bool) -> bytes:  # noqa: ARG002  # the same either way
        """The commands about one artifact."""
        [artifact_id] = values
        if len(artifact_id) == ID_LENGTH:
            return artifact_id.join(self._around)
        return self.repeated(values)

    def repeated(self, ids: Sequence[bytes]) -> bytes:
        """The commands about each of some artifacts."""
        if {ID_LENGTH}.issuperset(map(len, ids)):
            return b"".join([i.join(self._around) for i in ids])
        words = [word for i in ids for length in self._lengths for word in (length + len(i), i)]
        return self._template * len(ids) % tuple(words)


class Repeated(Generic[T]):
    """The commands of a form about several artifacts of one partition. `decode` takes all their replies.

    `first`: a command without a key that goes before them.
    """

    __slots__ = ("_decode", "_first", "_form", "_ids", "replies", "slot")
    slow = False
    inert = False
    large = None

    def __init__(
        self,
        form: IdForm,
        slot: int,
        ids: Sequence[bytes],
        decode: Callable[[Any], T],
        first: Sequence[bytes] = (),
    ) -> None:
        self.slot = slot
        self.replies = form.replies * len(ids) + bool(first)
        self._form = form
        self._ids = ids
        self._decode = decode
        self._first = first

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The commands as the server reads them."""
        packed = self._form.repeated(self._ids)
        return [*pack(self._first), packed] if self._first else [packed]

    def singly(self) -> list[Packed]:
        """The commands one by one."""
        return [Packed(self.slot, command) for command in split(self.packed())]

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies mean."""
        return self._decode(replies)


class Packed:
    """One command of a unit that was sent in vain as a whole."""

    __slots__ = ("_command", "slot")
    slow = False
    inert = False
    large = None
    replies = 1

    def __init__(self, slot: int, command: bytes) -> None:
        self.slot = slot
        self._command = command

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The command as the server reads it."""
        return [self._command]


class Command(Generic[T]):
    """One plain command, for what needs no script."""

    __slots__ = ("_arguments", "_decode", "slot")
    slow = False
    inert = False
    large = None
    replies = 1

    def __init__(self, slot: int, arguments: Sequence[Argument], decode: Callable[[Any], T]) -> None:
        self.slot = slot
        self._arguments = arguments
        self._decode = decode

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The command as the server reads it."""
        return pack(self._arguments)

    def read(self, replies: Sequence[Any]) -> T:
        """What the reply means."""
        return self._decode(replies[0])


class Apart(Generic[T]):
    """Plain commands for one slot, each in a buffer of its own, so that large replies can be asked for one by one."""

    __slots__ = ("_commands", "_decode", "large", "replies", "slot")
    slow = False
    inert = False

    def __init__(
        self,
        slot: int,
        commands: Sequence[Sequence[bytes]],
        decode: Callable[[Any], T],
        large: MakeLarge | None = None,
    ) -> None:
        self.large = large
        self.slot = slot
        self.replies = len(commands)
        self._commands = commands
        self._decode = decode

    def packed(self, *, by_hash: bool = True) -> list[Piece]:  # noqa: ARG002  # the same either way
        """The commands as the server reads them."""
        return [pack(command)[0] for command in self._commands]

    def read(self, replies: Sequence[Any]) -> T:
        """What the replies mean."""
        return self._decode(replies)


Unit = Call[T] | Chained[T] | Later[T] | Filled[T] | Repeated[T] | Command[T] | Apart[T]
"""What is sent to one slot, and sent again, as a whole."""
