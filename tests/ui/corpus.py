"""Text and contents that somebody stores to get at whoever looks at them."""

from __future__ import annotations

import re

from coatcheck import ArtifactStore
from coatcheck.trees import TREE_TYPE

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "javascript:alert(1)//",
    "</title></textarea></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}<b>",
    "${7*7}#{7*7}",
    '"autofocus onfocus="alert(1)',
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "a&quot;onmouseover=alert(1)&lt;",
    "\u202egnp.exe\u202c \u2066\u200b",
    "\x1b[2J\x07\x00\x7f\x9b",
    "../../etc/passwd?x=1#y%2f..%00",
    "--><!--<script>alert(1)//-->",
    "＜script＞\ufeff\u2028alert(1)",
    "a;b=c\r\nSet-Cookie: x=y",
]

CONTENTS = {
    "page.html": (b"<!doctype html><script>alert(1)</script>", "text/html"),
    "image.svg": (b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', "image/svg+xml"),
    "paper.pdf": (b"%PDF-1.7 1 0 obj<</JS(app.alert(1))>>", "application/pdf"),
    "lying.png": (b"<html><script>alert(1)</script></html>", "image/png"),
    "tree.json": (
        b'{"</summary><script>alert(1)</script>": ["<img src=x onerror=alert(1)>", "\\ud800"]}',
        "application/json",
    ),
    "ticket.json": (
        b'[{"$artifact": "x\\" onclick=\\"alert(1)"}, {"$artifact": "../../x"}, {"$artifact": 1}]',
        "application/json",
    ),
    "tree": (
        b'{"$tree": 1, "entries": [{"path": "<script>alert(1)</script>\\u202e", "kind": "link", "target": "javascript:alert(1)"},'
        b'{"path": {"base64": "PGltZyBzcmM9eCBvbmVycm9yPWFsZXJ0KDEpPv8="}, "kind": "file", "size": 1, "$artifact": "x", "type": "<b>"}]}',
        TREE_TYPE,
    ),
    "lying-tree": (
        b'{"entries": [{"path": "a", "kind": "file", "size": 1e999, "$artifact": "../../x", "type": "b"}]}',
        TREE_TYPE,
    ),
    "rows.csv": (b'<th onclick=alert(1)>,"<script>alert(1)</script>"\n=cmd(),b\n', "text/csv"),
    "deep.json": (b"[" * 30_000 + b"]" * 30_000, "application/json"),
    "wide.json": (b"[" + b"0," * 30_000 + b"0]", "application/json"),
    "number.json": (b"[" + b"9" * 60_000 + b", NaN, -1e999]", "application/json"),
    "lines.txt": (("\u202e\x1b[2J\n<script>alert(1)</script>\n" * 9).encode(), "text/plain"),
    "long.txt": (b"x" * 65_535 + "é".encode() * 999, "text/plain"),
}


def store_hostile(store: ArtifactStore) -> list[str]:
    """Store all of it; the ids."""
    ids = []
    for number, text in enumerate(HOSTILE):
        kind = re.sub("[\x00-\x1f\x7f-\x9f]", "", text)  # stores refuse these
        tags = {"path": f"a/{text}", text: text, "step": HOSTILE[number - 1]}
        view = store.store(f"content {number}".encode(), content_type=kind, run_id=text, tags=tags, ttl=3600)
        store.store(f"content {number}".encode(), content_type="text/plain", run_id=f"other {text}", tags={text: ""})
        ids.append(view.artifact_id)
    for name, (content, kind) in CONTENTS.items():
        ids.append(store.store(content, content_type=kind, run_id=name, tags={"path": name}).artifact_id)
    return ids
