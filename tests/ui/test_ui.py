"""The page: what it shows of a store, and what it never does for whoever stored there or asks from elsewhere."""

from __future__ import annotations

import base64
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from coatcheck import (
    ArtifactMetadata,
    ArtifactStore,
    AsyncArtifactStore,
    AsyncInMemoryArtifactStore,
    AsyncRedisArtifactStore,
    CorruptArtifactError,
    InMemoryArtifactStore,
    InvalidArtifactError,
    RedisArtifactStore,
    RunStats,
    StoreStats,
    compute_artifact_id,
)
from coatcheck.testing import Server
from coatcheck.testing.waiting import eventually
from coatcheck.trees import store_tree
from coatcheck.ui import app, lookup
from coatcheck.ui.lookup import HEAD, PAGE
from coatcheck.ui.content import file_name, wanted_range
from coatcheck.ui.words import relative, size, visible

from .corpus import HOSTILE, store_hostile

RUN = "nightly/eu?west=1"


def png(width: int = 8, height: int = 8) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    across = [(90 + 160 * x // width, 120 + 60 * x // width) for x in range(width)]
    rows = b"".join(b"\0" + bytes(c for a, b in across for c in (a, b, 60 + 150 * y // height)) for y in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def browse(store: ArtifactStore | AsyncArtifactStore, **options: object) -> TestClient:
    return TestClient(app(store, **options), base_url="http://localhost", follow_redirects=False)  # type: ignore[arg-type]


@pytest.fixture
def store() -> Iterator[InMemoryArtifactStore]:
    with InMemoryArtifactStore() as store:
        yield store


class Seen(HTMLParser):
    """A page as a browser takes it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def all(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


def see(visitor: TestClient, path: str, status: int = 200) -> Seen:
    answer = visitor.get(path)
    assert answer.status_code == status, (path, answer.text)
    return Seen(answer.text)


def listed(page: Seen) -> list[str]:
    return [attributes["title"] for _, attributes in page.elements if attributes.get("class") == "mono id"]


# What is shown ---------------------------------------------------------------------------------------------------


def test_every_page_has_one_heading_a_title_and_landmarks(store: InMemoryArtifactStore) -> None:
    view = store.store(b"x", run_id=RUN)
    with browse(store, allow_delete=True, name="memory:// of a test") as visitor:
        for path, status, title in [
            ("/", 200, "Overview"),
            ("/runs", 200, "Runs"),
            ("/artifacts", 200, "Artifacts"),
            (f"/artifacts?run={quote(RUN)}", 200, RUN),
            (f"/artifacts/{view.artifact_id}", 200, view.artifact_id),
            (f"/artifacts/{view.artifact_id}/delete", 200, "Delete this artifact?"),
            (f"/artifacts/{view.artifact_id}/release?run={quote(RUN)}", 200, "Give up this lease?"),
            (f"/runs/release?run={quote(RUN)}", 200, "Give up everything this run leases?"),
            ("/artifacts/absent", 404, "Not found"),
            ("/nowhere", 404, "Not found"),
            ("/artifacts/not%20an%20id", 400, "That is not something a store can be asked"),
        ]:
            page = see(visitor, path, status)
            for once in ("title", "h1", "main", "header", "footer"):
                assert page.count(once) == 1, (path, once)
            assert f"{title} · coatcheck" in page.text, path
            assert "memory:// of a test" in page.text


def test_the_overview_counts_what_is_there(store: InMemoryArtifactStore) -> None:
    for number in range(3):
        store.store(b"%d" % number * 1000, content_type="text/plain", run_id="a", ttl=1800 if number else 40_000)
    store.store(b"0" * 1000, content_type="text/plain", run_id="b")
    with browse(store) as visitor:
        text = "".join(see(visitor, "/").text.split())
    for figure in (
        "Artifacts3",
        "Runs2",
        "Leases4",
        "Endwithinanhour2",
        "handedin4.00kB",
        "aftersharing3.00kB",
    ):
        assert figure in text, text


@pytest.mark.parametrize("face", [RedisArtifactStore, AsyncRedisArtifactStore])
def test_the_overview_tells_the_memory_of_the_server(
    face: type[RedisArtifactStore | AsyncRedisArtifactStore], valkey: Server, namespace: str
) -> None:
    def overview() -> str:
        opened = face(valkey.url, namespace=namespace)
        with browse(opened) as visitor:
            text = see(visitor, "/").text
            if isinstance(opened, AsyncRedisArtifactStore):
                visitor.portal.call(opened.close)  # type: ignore[union-attr]  # it runs
            else:
                opened.close()
        return text.replace("\n", "")

    with RedisArtifactStore(valkey.url, namespace=namespace) as store, valkey.client() as client:
        store.store(b"x")
        assert "no maxmemory" in overview()
        client.config_set("maxmemory", 10 * 10**9)
        try:
            assert "of maxmemory0 %10.0 GB" in overview()
        finally:
            client.config_set("maxmemory", 0)


def test_a_filtered_list_says_how_many_there_are(store: InMemoryArtifactStore) -> None:
    for number in range(PAGE + 3):
        store.store(b"%d" % number, run_id="a", content_type="text/plain", tags={"odd": str(number % 2)})
    with browse(store) as visitor:
        assert f"{PAGE + 3} in all" in see(visitor, "/artifacts").text
        assert f"{PAGE + 3} match" in see(visitor, "/artifacts?run=a&type=text/plain").text
        assert "26 match" in see(visitor, "/artifacts?tag=odd&value=1").text


def test_an_empty_store_says_how_to_begin(store: InMemoryArtifactStore) -> None:
    with browse(store) as visitor:
        assert "coatcheck put" in see(visitor, "/").text
        assert "coatcheck put" in see(visitor, "/artifacts").text
        assert "No run leases anything" in see(visitor, "/runs").text
        assert "This run leases nothing" in see(visitor, "/artifacts?run=gone").text


def test_pages_of_artifacts_name_each_once_while_others_store(store: InMemoryArtifactStore) -> None:
    ids = [store.store(b"%d" % number, run_id="a").artifact_id for number in range(2 * PAGE + 7)]
    for query in ("?", "?run=a&"):
        seen: list[str] = []
        path: str | None = f"/artifacts{query}"
        with browse(store) as visitor:
            while path:
                page = see(visitor, path)
                seen += listed(page)
                store.store(b"meanwhile" + path.encode(), run_id="a")
                path = next((link["href"] for _, link in page.elements if link.get("rel") == "next"), None)
        assert [seen.count(artifact_id) for artifact_id in ids] == [1] * len(ids)
        assert seen == [artifact_id for artifact_id in reversed(ids) if artifact_id in seen] or query != "?"


def test_lists_are_filtered_by_run_type_and_tag(store: InMemoryArtifactStore) -> None:
    one = store.store(b"1", content_type="text/plain", run_id="a", tags={"k=": "=v"}).artifact_id
    two = store.store(b"2", content_type="image/png", run_id="a", tags={"step": "x=y"}).artifact_id
    three = store.store(b"3", content_type="text/plain", run_id="b").artifact_id
    with browse(store) as visitor:
        for query, wanted in [
            ("type=text/plain", {one, three}),
            ("type=text/plain&run=a", {one}),
            ("run=a&tag=step&value=x%3Dy", {two}),
            ("tag=k%3D&value=%3Dv", {one}),
            ("tag=step&value=x", set()),
            ("tag=step", {two}),
            ("type=text/*", {one, three}),
            ("run=c", set()),
        ]:
            assert set(listed(see(visitor, f"/artifacts?{query}"))) == wanted, query
        for nonsense in ("after=garbage", "after=1~2"):
            see(visitor, f"/artifacts?{nonsense}", 400)


class ManyRuns(InMemoryArtifactStore):
    """A store in which a hundred thousand runs lease something."""

    def list_runs(self) -> list[str]:
        return [f"run-{number:06}" for number in range(100_000)]

    def list_by_run(self, run_id: str) -> list[ArtifactMetadata]:
        return [self.store(run_id.encode(), run_id=run_id, ttl=60)]


def test_a_hundred_thousand_runs_come_in_pages_and_are_found_by_a_part_of_their_name() -> None:
    with ManyRuns() as store, browse(store) as visitor:
        first = see(visitor, "/runs")
        assert "Runs 100,000" in first.text
        assert first.count("tr") < 60
        following = next(link["href"] for _, link in first.elements if link.get("rel") == "next")
        assert "run-000025" in see(visitor, following).text
        assert "Runs 1 with “RUN-09999”" not in see(visitor, "/runs?containing=RUN-09999").text
        assert "run-099990" in see(visitor, "/runs?containing=RUN-09999").text
        assert "Nothing is known by that name" in see(visitor, "/runs?containing=nobody").text


def test_what_is_typed_into_the_search_field_leads_to_an_artifact_or_a_run(store: InMemoryArtifactStore) -> None:
    artifact_id = store.store(b"x", run_id=RUN).artifact_id
    with browse(store) as visitor:
        for typed, where in [
            (artifact_id, f"/artifacts/{artifact_id}"),
            (artifact_id[:12], f"/artifacts/{artifact_id}"),
            (f' {{"$artifact": "{artifact_id}"}} ', f"/artifacts/{artifact_id}"),
            (RUN, f"/artifacts?run={quote(RUN, safe='')}"),
            ("nightly", "/runs?containing=nightly"),
            ("{", "/runs?containing=%7B"),
            ('{"$artifact": ["x"]}', "/runs?"),
            ("//evil.example", "/runs?"),
            ("", "/runs"),
        ]:
            answer = visitor.get(f"/find?q={quote(typed, safe='')}")
            assert answer.status_code == 303
            assert answer.headers["location"].startswith(where), typed


def test_an_artifact_shows_its_metadata_its_leases_and_its_ticket(store: InMemoryArtifactStore) -> None:
    store.store(b"report", content_type="text/plain", run_id="a", tags={"path": "out/report.txt"}, ttl=7200)
    view = store.store(b"report", content_type="text/markdown", run_id="b", tags={"step": "last"})
    with browse(store) as visitor:
        page = see(visitor, f"/artifacts/{view.artifact_id}")
    assert f'{{"$artifact": "{view.artifact_id}"}}' in page.all("value")
    assert view.digest in page.text
    for text in ("Leased by 2", "in 2 h", "never", "as text/plain", "6 B", "text/markdown"):
        assert text in " ".join(page.text.split())
    assert datetime.fromisoformat(view.created_at) in map(datetime.fromisoformat, page.all("datetime"))


def test_previews_show_a_content_as_what_it_is(store: InMemoryArtifactStore) -> None:
    large = b"line\n" * 20_000
    cases = [
        (b"", "text/plain", "0 bytes"),
        (b'{"a": [1.50, {"$artifact": "abc"}], "a": null}', "application/json", "1.50"),
        (b'{"a": 1}\n{"a": 12345678901234567890}\n', "application/x-ndjson", "12345678901234567890"),
        (b"[1, 2", "application/json", "[1, 2"),
        ("größe;n\nü;2\n".encode(), "text/csv", "größe"),
        ("Grüße".encode("utf-16"), "text/plain", "Grüße"),
        (b"def f():\n\treturn 1\n", "text/x-python", "def f():\n\treturn 1\n"),
        (bytes(range(256)) * 100, "text/plain", "000000f0"),
        (large, "text/plain", "the first 65.5 kB of 100 kB"),
        (png(), "application/octet-stream", "Preview"),
    ]
    kinds = []
    with browse(store) as visitor:
        for content, kind, text in cases:
            artifact_id = store.store(content, content_type=kind, artifact_id=f"n{len(kinds)}").artifact_id
            page = see(visitor, f"/artifacts/{artifact_id}")
            assert text in page.text, (content[:40], page.text)
            classes = [name for name in page.all("class") if name.startswith("panel ")]
            kinds.append(classes[-1].split()[1])
    assert kinds == ["quiet", "tree", "tree", "source", "scroll", "source", "source", "source", "source", "picture"]


def test_a_stored_directory_is_listed_and_leads_to_its_files(store: InMemoryArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.txt").write_text("a")
    (tmp_path / "up").symlink_to("sub/a.txt")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    small = store_tree(tmp_path, store)
    for number in range(900):
        (tmp_path / "sub" / f"b {number:03} }},{{").touch()
    large = store_tree(tmp_path, store)
    with browse(store) as visitor:
        page = see(visitor, f"/artifacts/{small.artifact_id}")
        beginning = see(visitor, f"/artifacts/{large.artifact_id}")
    for text in ("sub/", "sub/a.txt", "up → sub/a.txt", "\\xff", "text/plain", "1 B"):
        assert text in page.text, text
    assert f"/artifacts/{compute_artifact_id(b'a')}" in page.all("href")
    assert "the first 65.5 kB of" in beginning.text
    assert beginning.all("href").count(f"/artifacts/{compute_artifact_id(b'')}") > 300


def test_extra_metadata_are_shown(store: InMemoryArtifactStore) -> None:
    store.store(b"x", run_id="a", artifact_id="x", extra={"tokens": 7})
    store.store(b"x", run_id="b", artifact_id="x", extra={"cost": {"<b>": "ü"}})
    with browse(store) as visitor:
        text = " ".join(see(visitor, "/artifacts/x").text.split())
    assert 'cost: {"<b>": "ü"}' in text
    assert "tokens: 7" in text


def test_a_ticket_in_a_document_is_a_link_to_its_artifact(store: InMemoryArtifactStore) -> None:
    store.store_json({"report": {"$artifact": "the-report"}, "odd": {"$artifact": "no id!"}}, artifact_id="state")
    with browse(store) as visitor:
        links = see(visitor, "/artifacts/state").all("href")
    assert "/artifacts/the-report" in links
    assert not [link for link in links if "no id" in link]


class Frugal(InMemoryArtifactStore):
    """Says how much of contents was read, and refuses to read all of one."""

    read = 0

    def load_range(self, artifact_id: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        found = super().load_range(artifact_id, start, stop)
        self.read += len(found or b"")
        return found

    def load(self, artifact_id: str) -> None:
        raise AssertionError("the whole content was loaded")


def test_no_more_of_a_content_is_read_than_a_preview_shows() -> None:
    with Frugal() as store, browse(store) as visitor:
        see(visitor, f"/artifacts/{store.store(bytes(10 * HEAD)).artifact_id}")
        assert store.read == HEAD


def test_a_store_that_awaits_is_shown_like_one_that_blocks() -> None:
    store = AsyncInMemoryArtifactStore()

    async def fill() -> str:
        return (await store.store(b"awaited", run_id="a")).artifact_id

    with browse(store, allow_delete=True) as visitor:
        artifact_id = visitor.portal.call(fill)  # type: ignore[union-attr]
        for path in ("/", "/runs", "/artifacts", f"/artifacts/{artifact_id}"):
            assert "awaited" in see(visitor, path).text or path != f"/artifacts/{artifact_id}"
        assert visitor.get(f"/artifacts/{artifact_id}/content").content == b"awaited"


def test_a_page_that_is_mounted_links_below_its_place(store: InMemoryArtifactStore) -> None:
    artifact_id = store.store(b"x", run_id=RUN, tags={"a": "b"}).artifact_id
    outer = Starlette(routes=[Mount("/tools/store", app(store, allow_delete=True))])
    with TestClient(outer, base_url="http://localhost") as visitor:
        for path in ("/", "/runs", "/artifacts", f"/artifacts/{artifact_id}", f"/artifacts/{artifact_id}/delete"):
            page = see(visitor, f"/tools/store{path}")
            for link in {*page.all("href"), *page.all("src"), *page.all("action")} - {"#main"}:
                assert link.startswith("/tools/store/"), link
                assert visitor.get(link).status_code == 200, link


# When something is wrong -----------------------------------------------------------------------------------------


def test_a_lost_server_is_said_on_every_page_without_its_password() -> None:
    with RedisArtifactStore("redis://user:hunter2@127.0.0.1:1/0", retry_for=0) as store, browse(store) as visitor:
        for path in ("/", "/runs", "/artifacts", "/artifacts/abc", "/artifacts/abc/content", "/find?q=abc"):
            page = see(visitor, path, 503)
            assert "The store does not answer" in page.text
            assert "hunter2" not in page.text


class Slow(InMemoryArtifactStore):
    """Takes its time to count, as long as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def stats(self) -> StoreStats:
        self.go.wait(30)
        return super().stats()


def test_figures_that_take_long_come_with_a_later_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_PATIENCE", 0.05)
    with Slow() as store, browse(store) as visitor:
        store.store(b"x" * 4321, run_id="a")
        try:
            assert "still being counted" in see(visitor, "/").text
        finally:
            store.go.set()
        eventually(lambda: "4.32 kB" in see(visitor, "/").text and "still being" not in see(visitor, "/").text)


def test_figures_of_runs_come_one_by_one_where_they_do_not_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "_PATIENCE", 0.5)
    ended = threading.Event()

    class Large(InMemoryArtifactStore):
        def run_stats_many(self, run_ids: Iterable[str]) -> list[RunStats]:
            ended.wait(30)
            return super().run_stats_many(run_ids)

    with Large() as store, browse(store) as visitor:
        store.store(b"x" * 4321, run_id="a")
        try:
            eventually(lambda: "4.32 kB" in see(visitor, "/runs").text)
        finally:
            ended.set()


class Damaged(InMemoryArtifactStore):
    """Its contents cannot be read, and it cannot count."""

    def load_range(self, artifact_id: str, start: int | None = None, stop: int | None = None) -> bytes | None:
        raise CorruptArtifactError(f"artifact {artifact_id} is damaged: store it again")

    def open(self, artifact_id: str) -> None:
        raise CorruptArtifactError(f"artifact {artifact_id} is damaged: store it again")

    def stats(self) -> StoreStats:
        raise NotImplementedError("no figures here")


def test_damaged_content_is_said_beside_the_metadata_that_are_left() -> None:
    with Damaged() as store, browse(store) as visitor:
        artifact_id = store.store(b"x", run_id="a").artifact_id
        page = see(visitor, f"/artifacts/{artifact_id}")
        assert "is damaged: store it again" in page.text
        assert "Leased by" in page.text
        see(visitor, f"/artifacts/{artifact_id}/content", 500)
        see(visitor, "/", 501)


# Contents on their way out ---------------------------------------------------------------------------------------


def test_downloads_are_attachments_that_no_browser_shows(store: InMemoryArtifactStore) -> None:
    with browse(store) as visitor:
        for artifact_id in store_hostile(store):
            answer = visitor.get(f"/artifacts/{artifact_id}/content")
            assert answer.headers["content-disposition"].startswith("attachment; filename=")
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
            assert answer.content == store.load(artifact_id).content  # type: ignore[union-attr]
            assert visitor.get(f"/artifacts/{artifact_id}/image").status_code == 415


def test_images_of_known_kinds_are_shown_as_what_they_are(store: InMemoryArtifactStore) -> None:
    picture = store.store(png(), content_type="text/html").artifact_id
    with browse(store) as visitor:
        answer = visitor.get(f"/artifacts/{picture}/image")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; sandbox")
        assert f"/artifacts/{picture}/image" in see(visitor, f"/artifacts/{picture}").all("src")


def test_downloads_answer_ranges_and_conditions(store: InMemoryArtifactStore) -> None:
    content = bytes(range(256)) * 20_000
    view = store.store(content)
    path, tag = f"/artifacts/{view.artifact_id}/content", f'"{view.digest}"'
    with browse(store) as visitor:
        for headers, status, wanted in [
            ({}, 200, content),
            ({"range": "bytes=10-19"}, 206, content[10:20]),
            ({"range": "bytes=5000000-"}, 206, content[5_000_000:]),
            ({"range": "bytes=-5"}, 206, content[-5:]),
            ({"range": "bytes=0-99999999999"}, 206, content),
            ({"range": "bytes=5-4"}, 200, content),
            ({"range": "bytes=1-2,5-6"}, 200, content),
            ({"range": f"bytes={len(content)}-"}, 416, b""),
            ({"range": "bytes=-0"}, 416, b""),
            ({"range": "bytes=0-9", "if-range": tag}, 206, content[:10]),
            ({"range": "bytes=0-9", "if-range": '"other"'}, 200, content),
            ({"if-none-match": f'"other", {tag}'}, 304, b""),
        ]:
            answer = visitor.get(path, headers=headers)
            assert (answer.status_code, answer.content) == (status, wanted), headers
            assert answer.headers["etag"] == tag
        assert visitor.get(path, headers={"range": "bytes=7-8"}).headers["content-range"] == f"bytes 7-8/{len(content)}"
        head = visitor.head(path)
        assert (head.content, head.headers["content-length"]) == (b"", str(len(content)))
        assert visitor.get("/artifacts/absent/content").status_code == 404


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=9-", (9, 9)),
        ("bytes=-99", (0, 9)),
    ],
)
def test_ranges_are_read_as_http_says(header: str, wanted: tuple[int, int] | None) -> None:
    assert wanted_range(header, 9) == wanted


def test_files_are_saved_under_harmless_names() -> None:
    for tags, kind, name in [
        ({"path": "a/b/report.pdf"}, "", "report.pdf"),
        ({"path": "..\\..\\autoexec.bat"}, "", "autoexec.bat"),
        ({"path": "../.."}, "text/plain", "x.txt"),
        ({"name": ".bashrc"}, "", "bashrc"),
        ({"filename": 'q"\r\nX: y'}, "", 'q"_r_nX: y'),
        ({}, "application/json", "x.json"),
    ]:
        view = ArtifactMetadata(artifact_id="x", content_type=kind, size_bytes=0, created_at="", tags=tags)
        assert file_name(view) == name


# Hostile text ----------------------------------------------------------------------------------------------------

OURS = {"/static/page.js", "/static/page.css", "/static/ticket.svg"}


def test_hostile_text_is_shown_and_never_obeyed(store: InMemoryArtifactStore) -> None:
    ids = store_hostile(store)
    paths = ["/", "/runs", "/artifacts", *(f"/artifacts/{artifact_id}" for artifact_id in ids)]
    for text in HOSTILE:
        this = quote(text, safe="")
        paths += [f"/artifacts?run={this}", f"/artifacts?type={this}", f"/artifacts?tag=step&value={this}"]
        paths += [f"/runs?containing={this}", f"/runs?after={this}", f"/runs/release?run={this}"]
        paths += [f"/artifacts/{ids[0]}/release?run={this}", f"/artifacts/{ids[0]}?done={this}"]
    with browse(store, allow_delete=True) as visitor:
        followed = {link for path in paths[:3] for link in see(visitor, path).all("href") if link.startswith("/")}
        for path in {*paths, *followed} - OURS:
            answer = visitor.get(path)
            assert answer.status_code in (200, 400), (path, answer.text)  # a type without control characters
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", answer.text), (
                path
            )
            page = Seen(answer.text)
            assert page.count("script") == 1
            assert not {"iframe", "textarea", "style", "object", "embed", "base"} & {name for name, _ in page.elements}
            for _, attributes in page.elements:
                assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")]
            for link in {*page.all("href"), *page.all("src"), *page.all("action")}:
                assert link == "#main" or (link.startswith("/") and not link.startswith("//")), link
                assert not urlsplit(link).netloc
        text = see(visitor, f"/artifacts/{ids[0]}").text
        assert HOSTILE[0] in text
        assert visible(HOSTILE[10]) in see(visitor, f"/artifacts/{ids[10]}").text


# Who may ask -----------------------------------------------------------------------------------------------------


def test_every_answer_tells_browsers_to_stay_within_it(store: InMemoryArtifactStore) -> None:
    artifact_id = store.store(b"x").artifact_id
    with browse(store, token="s3cret") as visitor:
        visitor.auth = ("", "s3cret")
        answers = [
            visitor.get(path) for path in ("/", "/nowhere", "/static/page.css", f"/artifacts/{artifact_id}/content")
        ]
        answers += [visitor.get("/", headers={"host": "evil.example"}), visitor.get("/", auth=("", "wrong"))]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 200, 421, 401]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers


def test_only_known_host_names_are_answered(store: InMemoryArtifactStore) -> None:
    for hosts, host, status in [
        ({}, "localhost:8765", 200),
        ({}, "127.0.0.1", 200),
        ({}, "[::1]:80", 200),
        ({}, "LOCALHOST.", 200),
        ({}, "evil.example", 421),
        ({}, "localhost.evil.example", 421),
        ({}, "127.0.0.1@evil.example", 421),
        ({}, "", 421),
        ({"hosts": ["store.corp", "::1"]}, "store.corp:443", 200),
        ({"hosts": ["Store.corp.:8443"]}, "store.corp", 200),
        ({"hosts": ["[0:0:0:0:0:0:0:1]:8443"]}, "[::1]", 200),
        ({"hosts": ["store.corp"]}, "localhost", 421),
    ]:
        with browse(store, **hosts) as visitor:
            assert visitor.get("/runs", headers={"host": host}).status_code == status, (hosts, host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "https://store.corp",
        "store.corp/",
        "*",
        "*.corp",
        "a b",
        "a,b",
        "a..b",
        ".corp",
        "a:b",
        "me@corp",
        "büro.corp",
    ]
    + ["[::1", "[a]", "::g", "a:123456", "a\n", "a" * 64],
)
def test_what_no_request_can_name_is_not_allowed_as_a_host(store: InMemoryArtifactStore, host: str) -> None:
    with pytest.raises(InvalidArtifactError, match=r"cannot be allowed as a host: write a name or an address"):
        app(store, hosts=["store.corp", host])


def test_a_single_host_is_no_list_of_letters(store: InMemoryArtifactStore) -> None:
    with pytest.raises(InvalidArtifactError, match=r"write \['store.corp'\]"):
        app(store, hosts="store.corp")


def test_a_token_is_asked_for_as_password_or_bearer(store: InMemoryArtifactStore) -> None:
    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    with browse(store, token="grün:1") as visitor:
        for given, status in [
            (None, 401),
            (basic("me:grün:1"), 200),
            (basic(":grün:1"), 200),
            (basic("grün:1"), 401),
            (basic("me:"), 401),
            ("Basic !!!", 401),
            ("Bearer wrong", 401),
            ("Bearer grün:1".encode(), 200),
        ]:
            headers = {} if given is None else {"authorization": given}
            answer = visitor.get("/static/page.css", headers=headers)  # type: ignore[arg-type]
            assert answer.status_code == status, given
            assert ("www-authenticate" in answer.headers) == (status == 401)
    with pytest.raises(InvalidArtifactError, match="empty token"):
        app(store, token="")


def test_a_page_only_looks_unless_told(store: InMemoryArtifactStore) -> None:
    artifact_id = store.store(b"x", run_id="a").artifact_id
    with browse(store) as visitor:
        for path in (
            f"/artifacts/{artifact_id}/delete",
            f"/artifacts/{artifact_id}/release?run=a",
            "/runs/release?run=a",
        ):
            see(visitor, path, 404)
            assert visitor.post(path).status_code == 404
        page = see(visitor, f"/artifacts/{artifact_id}")
        assert not [link for link in page.all("href") if "delete" in link or "release" in link]
        assert "read-only" in page.text
    assert store.exists(artifact_id)


def test_confirmed_changes_are_made_and_said(store: InMemoryArtifactStore) -> None:
    shared = store.store(b"shared", run_id="a").artifact_id
    store.store(b"shared", run_id="b")
    store.store(b"shared")
    other = store.store(b"other", run_id="b").artifact_id
    with browse(store, allow_delete=True) as visitor:
        for path, said in [
            (f"/artifacts/{shared}/release?run=a", "The lease was given up."),
            (f"/artifacts/{shared}/release", "The lease was given up."),
            ("/runs/release?run=b", "All leases of the run were given up."),
            (f"/artifacts/{other}/delete", "There was nothing to give up or delete any more."),
        ]:
            page = see(visitor, path)
            secret = next(field["value"] for _, field in page.elements if field.get("name") == "secret")
            answer = visitor.post(path, content=f"secret={secret}", headers={"origin": "http://localhost"})
            assert answer.status_code == 303
            assert said in see(visitor, answer.headers["location"]).text
        assert store.list_all() == []


def test_forged_changes_are_refused(store: InMemoryArtifactStore) -> None:
    path = f"/artifacts/{store.store(b'x', run_id='a').artifact_id}/delete"
    with browse(store, allow_delete=True) as visitor:
        cookie = visitor.get(path).headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        secret = visitor.cookies["coatcheck-csrf"]
        for form, headers, status in [
            ("", {}, 403),
            ("secret=", {}, 403),
            ("secret=guessed", {}, 403),
            (f"secret={secret}", {"cookie": "coatcheck-csrf="}, 403),
            (f"secret={secret}", {"origin": "http://evil.example"}, 403),
            (f"secret={secret}", {"origin": "null"}, 403),
            (f"secret={secret}", {"sec-fetch-site": "cross-site"}, 403),
            (f"secret={secret}&" + "x" * 5000, {}, 413),
        ]:
            assert visitor.post(path, content=form, headers=headers).status_code == status, (form[:40], headers)
    assert len(store.list_all()) == 1


# Words -----------------------------------------------------------------------------------------------------------


def test_sizes_and_times_read_as_people_say_them() -> None:
    sizes = {
        0: "0 B",
        999: "999 B",
        1000: "1.00 kB",
        12_345: "12.3 kB",
        999_499: "999 kB",
        999_500: "1.00 MB",
        6 * 2**30: "6.44 GB",
    }
    assert {count: size(count) for count in sizes} == sizes
    now = datetime.now(UTC)
    for away, said in [
        (0, "now"),
        (-59, "59 s ago"),
        (-60, "1 min ago"),
        (-7199, "1 h ago"),
        (3600, "in 1 h"),
        (3599.6, "in 1 h"),
        (86_399, "in 1 d"),
        (3 * 86_400 - 7, "in 3 d"),
        (86_400 * 400, "in 400 d"),
    ]:
        assert relative((now + timedelta(seconds=away)).isoformat(), now) == said
