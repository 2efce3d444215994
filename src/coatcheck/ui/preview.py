"""What the first bytes of a content look like to people: an image, a directory, a tree, a table, text, or hex."""

from __future__ import annotations

import base64
import csv
import json
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from coatcheck import InvalidArtifactError, artifact_ref, get_artifact_id
from coatcheck.trees import TREE_TYPE

_IMAGES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
)
_JSON: Final = re.compile(r"(application|text)/([\w.+-]+\+)?json\b")
_JSON_LINES: Final = re.compile(r"(application|text)/(x-)?(ndjson|jsonl|jsonlines|json-lines)\b")
_TABLE: Final = re.compile(r"text/(csv|tab-separated-values)\b|application/csv\b")

_ROWS: Final = 200
_COLUMNS: Final = 40
_NODES: Final = 2000
_DEPTH: Final = 24
_TEXT: Final = 2000  # characters of one value
_HEX: Final = 4096  # bytes


@dataclass
class Node:
    """A value in a JSON document.

    Attributes:
        kind: `object`, `array`, `string`, `number`, `literal`, `ticket`, or `more`: so many values are not shown.
        text: The value, of a ticket its id, of objects and arrays how many values they hold.
        key: Its name in an object, its number in an array; `None` at the top.
        children: The values in it.
    """

    kind: str
    text: str
    key: str | None = None
    children: list[Node] = field(default_factory=list)


@dataclass(frozen=True)
class Entry:
    """What a directory has.

    Attributes:
        path: Where, within the directory; of a directory with a slash at its end, of a link with where it leads.
        size: Bytes of a file; `None`: it is none.
        artifact_id: Of a file: the artifact that has its content.
        content_type: Of a file.
    """

    path: str
    size: int | None = None
    artifact_id: str = ""
    content_type: str = ""


@dataclass(frozen=True)
class Preview:
    """What a page shows of a content.

    Attributes:
        kind: `empty`, `image`, `directory`, `tree`, `table`, `text` or `hex`.
        shown: How many bytes of the content this is.
        data: By kind: entries; a `Node`; rows of fields, the first of which names the columns; text; rows of address,
            hex and text.
    """

    kind: str
    shown: int
    data: Any = None


def image_type(head: bytes) -> str | None:
    """The type of an image that browsers show without executing anything, by its first bytes."""
    return next((kind for start, kind in _IMAGES if start.match(head)), None)


def preview(head: bytes, content_type: str, size: int) -> Preview:
    """Find how to show a content.

    Args:
        head: Its first bytes.
        content_type: What was said of it: a hint only.
        size: Its length.
    """
    if not head:
        return Preview("empty", 0)
    if image_type(head) is not None:
        return Preview("image", size)
    text = _decode(head, whole=len(head) == size)
    if text is None:
        return Preview("hex", min(len(head), _HEX), _hex(head[:_HEX]))
    kind, whole = content_type.lower(), len(head) == size
    for data, way in (
        (_directory(text, kind, whole=whole), "directory"),
        (_tree(text, kind) if whole else None, "tree"),
        (_lines(text, kind, whole=whole), "tree"),
        (_table(text, kind, whole=whole), "table"),
    ):
        if data is not None:
            return Preview(way, len(head), data)
    return Preview("text", len(head), text)


def _decode(head: bytes, *, whole: bool) -> str | None:
    """Text, if it is: perhaps cut in the middle of a character, and without what only binaries have."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    for missing in range(1 if whole else 4):
        try:
            text = head[: len(head) - missing].decode(encoding)
        except UnicodeDecodeError:
            continue
        odd = sum(character < " " and character not in "\t\n\r\f\x1b" for character in text)
        return text if odd * 50 <= len(text) and "\0" not in text else None
    return None


def _directory(text: str, kind: str, *, whole: bool) -> list[Entry] | None:
    """The entries of a stored tree, as far as its manifest is here."""
    if kind != TREE_TYPE:
        return None
    try:
        entries = json.loads(text if whole else f"{text[: text.rindex('},{')]}}}]}}")["entries"]
        return [_entry(entry) for entry in entries]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _entry(plain: Any) -> Entry:
    path, kind = _path(plain["path"]), plain["kind"]
    if kind == "file":
        size, content_type = plain["size"], plain["type"]
        if type(size) is not int or not isinstance(content_type, str):
            raise TypeError("no entry of a tree")
        return Entry(path, size, get_artifact_id(artifact_ref(plain["$artifact"])), _cut(content_type))
    return Entry(f"{path}/" if kind == "directory" else f"{path} → {_path(plain['target'])}")


def _path(plain: Any) -> str:
    """A path of a manifest: text, or bytes that are none."""
    if isinstance(plain, str):
        return _cut(plain)
    return _cut(base64.b64decode(plain["base64"]).decode("utf-8", "backslashreplace"))


class _Pairs(list[tuple[str, Any]]):
    """An object with its names as often as they are there."""


class _Literal(str):
    """A number, or `NaN` and its kin, as it is written."""

    __slots__ = ()


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Pairs, parse_int=_Literal, parse_float=_Literal, parse_constant=_Literal)


def _tree(text: str, kind: str) -> Node | None:
    if not (_JSON.match(kind) or text.lstrip()[:1] in ("{", "[")):
        return None
    try:
        return _Grower().node(_parse(text), None, 0)
    except (ValueError, RecursionError):
        return None


def _lines(text: str, kind: str, *, whole: bool) -> Node | None:
    """JSON lines as an array."""
    if not _JSON_LINES.match(kind):
        return None
    lines = text.splitlines()
    try:
        values = [_parse(line) for line in (lines if whole else lines[:-1]) if line.strip()]
        return _Grower().node(values, None, 0)
    except (ValueError, RecursionError):
        return None


class _Grower:
    """Makes a tree of a parsed document, of bounded size."""

    def __init__(self) -> None:
        self._left = _NODES

    def node(self, value: Any, key: str | None, depth: int) -> Node:
        """The node of a value and of all that is in it."""
        self._left -= 1
        if isinstance(value, list):
            return self._branch(value, key, depth)
        if isinstance(value, _Literal):
            return Node("number", _cut(value), key)
        if isinstance(value, str):
            return Node("string", _cut(value), key)
        return Node("literal", json.dumps(value), key)

    def _branch(self, value: list[Any], key: str | None, depth: int) -> Node:
        pairs = isinstance(value, _Pairs)
        if pairs and len(value) == 1 and (ticket := _ticket(dict(value))) is not None:
            return Node("ticket", ticket, key)
        one, many = ("name", "names") if pairs else ("value", "values")
        branch = Node("object" if pairs else "array", f"{len(value):,} {one if len(value) == 1 else many}", key)
        for number, item in enumerate(value):
            if self._left <= 0 or depth >= _DEPTH:
                branch.children.append(Node("more", f"{len(value) - number:,} more"))
                break
            name, inner = item if pairs else (str(number), item)
            branch.children.append(self.node(inner, _cut(name), depth + 1))
        return branch


def _ticket(value: dict[str, Any]) -> str | None:
    """The id, if this is a ticket."""
    try:
        return get_artifact_id(value)
    except InvalidArtifactError:
        return None


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text):,} characters)"


def _table(text: str, kind: str, *, whole: bool) -> list[list[str]] | None:
    if not _TABLE.match(kind):
        return None
    lines = text.splitlines(keepends=True)
    if not whole:
        lines.pop()  # it was cut
    first = lines[0] if lines else ""
    delimiter = max("\t,;|" if "tab" in kind else ",;\t|", key=first.count)
    try:
        rows = [row for row in islice(csv.reader(lines, delimiter=delimiter), _ROWS + 1) if row]
    except csv.Error:
        return None
    width = min(max(map(len, rows), default=0), _COLUMNS)
    if width == 0:
        return None
    return [[_cut(value) for value in row[:width]] + [""] * (width - len(row)) for row in rows]


def _hex(head: bytes) -> list[tuple[str, str, str]]:
    def row(start: int) -> tuple[str, str, str]:
        piece = head[start : start + 16]
        seen = "".join(chr(byte) if 0x20 <= byte < 0x7F else "·" for byte in piece)
        return f"{start:08x}", f"{piece[:8].hex(' ')}  {piece[8:].hex(' ')}".rstrip(), seen

    return [row(start) for start in range(0, len(head), 16)]
