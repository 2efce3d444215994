"""What of a value is kept apart: its smallest parts that are large, the largest of them first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from ..arguments import Payload
from ..errors import InvalidArtifactError
from ..ids import ID_LENGTH, REF_KEY
from ..values.builtin import TYPED_JSON
from ..values.codecs import Codecs
from ..values.tagged import TYPE, dumps, encode, tagged_bytes

FLOOR: Final = 1024
"""Bytes as JSON below which nothing goes for the sake of `total`: a ticket takes some itself."""

_LEAST_TICKET: Final = 60  # bytes

Preview = int | Callable[[Any], str | None]


class KeptTicket(dict[str, Any]):
    """A ticket that was in a value and stays one."""


class Piece:
    """A part of a value that may be kept apart.

    Attributes:
        value: Text, bytes, a list or dict of plain JSON, a ticket, or what only a codec of its own can keep.
        body: The list or dict that it is in, and `key` where in there.
        size: Bytes that it takes as compact JSON.
        pieces: Those within it.
        typed: Whether something in it is not plain JSON itself.
        whole: Whether it can be kept apart as one: neither a ticket nor what only a codec can keep is in it.
        goes: Whether it is kept apart.
    """

    __slots__ = ("body", "goes", "key", "payload", "pieces", "size", "ticket", "typed", "value", "whole")

    def __init__(self, value: Any, body: Any, key: Any, size: int = 0) -> None:
        self.value, self.body, self.key, self.size = value, body, key, size
        self.pieces: list[Piece] = []
        self.typed = self.goes = False
        self.whole = True
        self.payload: Payload | None = None
        self.ticket: dict[str, Any] | None = None


class Cut:
    """Decides what of a state is kept apart, and puts tickets in its place.

    Args:
        state: Plain JSON in which there may be bytes, tickets, and what only a codec can keep; it is changed.
        codecs: Those that there are.
        threshold: Bytes as JSON from which on something goes; `None`: only as `total` demands.
        total: Bytes as JSON that may be left; `None`: any number.
        preview: Characters of text and JSON that tickets show, or what makes a preview of a value.
    """

    def __init__(self, state: Any, codecs: Codecs, threshold: int | None, total: int | None, preview: Preview) -> None:
        self._codecs = codecs
        self._preview = preview
        self._floor = FLOOR if threshold is None else min(threshold, FLOOR)
        self._keys: dict[str, int] = {}  # sizes: keys repeat
        self._foreign: list[Piece] = []
        self._top = Piece([state], None, None)
        try:
            self._measure(state, self._top.value, 0, self._top)
        except ValueError as error:  # an integer of more digits than Python writes
            raise InvalidArtifactError(f"cannot be written as JSON: {error}") from None
        self._rest = self._top.size
        for piece in self._foreign:
            self._take(piece)
        if threshold is not None:
            for piece in _smallest(self._top.pieces, threshold):
                self._take(piece)
        if total is not None and self._rest > total:
            self._fit(total)
        self._leaving = list(_leaving(self._top.pieces))
        self.payloads = list({self._payload(piece).content: self._payload(piece) for piece in self._leaving}.values())
        """What is to be stored; equal contents once."""

    def finish(self, ids: Sequence[str]) -> Any:
        """The state with tickets; `ids`: under which the payloads were stored."""
        names = dict(zip((payload.content for payload in self.payloads), ids, strict=True))
        for piece in self._leaving:
            piece.body[piece.key] = {**self._ticket(piece), REF_KEY: names[self._payload(piece).content]}
        for piece in _staying(self._top.pieces):
            if isinstance(piece.value, bytes):
                piece.body[piece.key] = tagged_bytes(piece.value)
            elif isinstance(piece.value, KeptTicket):
                piece.body[piece.key] = dict(piece.value)
        return self._top.value[0]

    # Measuring --------------------------------------------------------------------------------------------------

    def _measure(self, value: Any, body: Any, key: Any, outer: Piece, *, literal: bool = False) -> None:
        """Find the pieces of a value; the piece around it learns what is in it.

        A literal dict is what an escape is about: a type in it means nothing.
        """
        kind = type(value)
        if kind is str:
            size = _size(value)
            outer.size += size
            if size >= self._floor:
                outer.pieces.append(Piece(value, body, key, size))
        elif kind is int or kind is float:
            outer.size += len(repr(value))
        elif value is None or kind is bool:
            outer.size += 5 if value is False else 4
        else:
            piece = Piece(value, body, key)
            if kind is dict or kind is list:
                self._measure_items(piece, literal=literal)
            elif kind is bytes:
                piece.typed = True
                piece.size = _size(tagged_bytes(b"")) + (len(value) + 2) // 3 * 4
            elif kind is KeptTicket:
                piece.whole = False
                piece.size = _size(value)
            else:
                piece.whole = False
                self._foreign.append(piece)
            outer.size += piece.size
            outer.typed |= piece.typed
            outer.whole &= piece.whole
            if piece.pieces or piece.size >= self._floor or piece.typed or not piece.whole:
                outer.pieces.append(piece)

    def _measure_items(self, piece: Piece, *, literal: bool) -> None:
        value = piece.value
        piece.size = 2 + max(0, len(value) - 1)
        if isinstance(value, list):
            for index, item in enumerate(value):
                self._measure(item, value, index, piece)
            return
        typed = TYPE in value and not literal
        for key, item in value.items():
            if key not in self._keys:
                self._keys[key] = _size(key) + 1
            piece.size += self._keys[key]
            self._measure(item, value, key, piece, literal=typed)
        if typed:  # what a type is said of goes with it, but parts of that may go alone
            piece.typed = True
            piece.pieces = [within for said in piece.pieces for within in said.pieces]

    # Choosing ---------------------------------------------------------------------------------------------------

    def _take(self, piece: Piece) -> None:
        piece.goes = True
        self._rest += _size(self._ticket(piece)) - piece.size

    def _fit(self, total: int) -> None:
        """Take as much as it needs: parts that are small enough to be worth it, else one that holds many of them."""
        for piece in sorted(_smallest(self._top.pieces, self._floor), key=lambda piece: -piece.size):
            if _size(self._ticket(piece)) < piece.size:
                self._take(piece)
            if self._rest <= total:
                return
        found: list[tuple[int, Piece]] = []
        for piece in self._top.pieces:
            self._weigh(piece, found)
        for size, piece in sorted(found, key=lambda weighed: weighed[0]):
            rest = self._rest - size
            if rest + _LEAST_TICKET <= total and rest + _size(self._ticket(piece)) <= total:
                piece.goes = True
                return
        raise InvalidArtifactError(f"at least {self._rest} bytes would be left, more than total={total}: raise it")

    def _weigh(self, piece: Piece, found: list[tuple[int, Piece]]) -> int:
        """Bytes that a piece takes with what is gone already; finds those that could still go."""
        if piece.goes:
            return _size(self._ticket(piece))
        left = piece.size - sum(inner.size - self._weigh(inner, found) for inner in piece.pieces)
        if piece.whole:
            found.append((left, piece))
        return left

    # Writing ----------------------------------------------------------------------------------------------------

    def _payload(self, piece: Piece) -> Payload:
        if piece.payload is None:
            value = piece.value
            if isinstance(value, dict | list):
                kind = TYPED_JSON if piece.typed else "application/json"
                piece.payload = Payload(encode(dumps(value)), kind)
            else:
                piece.payload = self._codecs.encode(value)
        return piece.payload

    def _ticket(self, piece: Piece) -> dict[str, Any]:
        if piece.ticket is None:
            payload = self._payload(piece)
            size = len(memoryview(payload.content))
            piece.ticket = {REF_KEY: "0" * ID_LENGTH, "type": payload.content_type, "size": size}
            preview = self._show(piece)
            if preview is not None:
                piece.ticket["preview"] = preview
        return piece.ticket

    def _show(self, piece: Piece) -> str | None:
        """A preview: of text its beginning, of lists and dicts that of their JSON."""
        value = piece.value
        if callable(self._preview):
            shown = self._preview(value)
            if shown is not None and not isinstance(shown, str):
                raise InvalidArtifactError(f"preview() must return a str or None, not {type(shown).__name__}")
            return shown
        length = self._preview
        if not length or not isinstance(value, str | list | dict):
            return None
        text = value if isinstance(value, str) else dumps(value)
        return text if len(text) <= length else text[:length] + "…"


def _smallest(pieces: list[Piece], floor: int) -> list[Piece]:
    """The smallest pieces of at least `floor` bytes, in which nothing goes yet."""
    found: list[Piece] = []
    _find(pieces, floor, found)
    return found


def _find(pieces: list[Piece], floor: int, found: list[Piece]) -> bool:
    """Find the smallest pieces; whether there are any, or some that go already."""
    any_goes = False
    for piece in pieces:
        if piece.goes or _find(piece.pieces, floor, found):
            any_goes = True
        elif piece.whole and piece.size >= floor:
            found.append(piece)
            any_goes = True
    return any_goes


def _leaving(pieces: list[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        if piece.goes:
            yield piece
        else:
            yield from _leaving(piece.pieces)


def _staying(pieces: list[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        if not piece.goes:
            yield piece
            yield from _staying(piece.pieces)


def _size(plain: Any) -> int:
    """Bytes of compact JSON in UTF-8."""
    text = dumps(plain)
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
