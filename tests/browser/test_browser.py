"""The page in a real Chromium: how it looks, whom it lets in, and that nothing stored there is ever executed."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from coatcheck import RedisArtifactStore
from coatcheck.testing import Server
from coatcheck.testing.waiting import eventually

from ..ui.corpus import CONTENTS, HOSTILE, store_hostile
from .conftest import PICTURES, Site, Visits, serving
from .gallery import AGENT

LOOKS = [(width, scheme) for width in (1600, 400) for scheme in ("light", "dark")]


def look_at(page: Page, name: str) -> None:
    """Keep a picture of a page, and let nothing stick out of it or shut anybody out."""
    page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
    across = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert across[0] <= across[1], f"{name} sticks out"
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_every_page_is_seen_whole_by_everybody(
    width: int, scheme: str, site: Site, visits: Callable[..., Visits]
) -> None:
    page = visits(viewport={"width": width, "height": 900}, color_scheme=scheme).page()
    run = quote(AGENT)
    for name, path in {
        "overview": "/",
        "runs": "/runs",
        "artifacts": "/artifacts",
        "run": f"/artifacts?run={run}",
        "nothing": "/artifacts?type=no/such",
        "missing": "/artifacts/absent",
        "delete": f"/artifacts/{site.ids['text']}/delete",
        **{f"artifact-{kind}": f"/artifacts/{artifact_id}" for kind, artifact_id in site.ids.items()},
    }.items():
        page.goto(site.address + path)
        look_at(page, f"{name}-{width}-{scheme}")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, background[4:-1].split(","))) < 60) == (scheme == "dark")


def test_the_documentation_is_given_its_pictures(site: Site, visits: Callable[..., Visits]) -> None:
    for name, scheme, path in [("overview", "light", "/"), ("artifact", "dark", f"/artifacts/{site.ids['tree']}")]:
        page = visits(viewport={"width": 1120, "height": 720}, color_scheme=scheme).page()
        page.goto(site.address + path)
        page.screenshot(path=PICTURES / f"docs-{name}.png")
        assert (PICTURES / f"docs-{name}.png").stat().st_size < 150_000


@pytest.fixture
def hostile(valkey: Server, namespace: str) -> Iterator[tuple[str, list[str]]]:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        ids = store_hostile(store)
        with serving(f"--url {valkey.url} --namespace {namespace}", "--allow-delete") as address:
            yield address, ids


def test_nothing_that_was_stored_is_executed(hostile: tuple[str, list[str]], visits: Callable[..., Visits]) -> None:
    address, ids = hostile
    page = visits().page()
    paths = ["/", "/runs", "/artifacts", *(f"/artifacts/{artifact_id}" for artifact_id in ids)]
    for text in HOSTILE:
        this = quote(text, safe="")
        paths += [
            f"/artifacts?run={this}",
            f"/artifacts?type={this}&tag={this}&value={this}",
            f"/runs?containing={this}",
        ]
        paths += [f"/find?q={this}", f"/runs/release?run={this}"]
    for path in paths:
        page.goto(address + path)
        assert page.title().endswith("coatcheck")
        assert page.locator("script").count() == 1
        for element in page.locator("main a, main input").all()[:3]:
            element.focus()
    page.goto(f"{address}/artifacts/{ids[0]}")
    expect(page.get_by_text(HOSTILE[0]).first).to_be_visible()
    for artifact_id in ids[-len(CONTENTS) :]:  # a browser that is sent there saves them, and shows nothing
        with page.expect_download() as download:
            page.evaluate(f"location.href = '/artifacts/{artifact_id}/content'")
        download.value.delete()
    look_at(page, "hostile-1600-light")


def test_previews_are_what_their_contents_are(site: Site, visits: Callable[..., Visits]) -> None:
    page = visits().page()
    page.goto(f"{site.address}/artifacts/{site.ids['image']}")
    assert page.locator("main img").evaluate("image => [image.naturalWidth, image.naturalHeight]") == [640, 360]
    page.goto(f"{site.address}/artifacts/{site.ids['table']}")
    expect(page.get_by_role("columnheader", name="p99 ms")).to_be_visible()
    assert page.locator(".sheet tbody tr").count() == 60
    page.goto(f"{site.address}/artifacts/{site.ids['hex']}")
    expect(page.locator(".hex")).to_contain_text("00000ff0")
    page.goto(f"{site.address}/artifacts/{site.ids['directory']}")
    page.get_by_role("link", name="base.html").click()
    expect(page.locator(".source")).to_contain_text("<!doctype html>")
    page.goto(f"{site.address}/artifacts/{site.ids['tree']}")
    expect(page.get_by_role("link", name="ticket")).to_have_count(2)
    page.get_by_role("link", name="ticket").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("workers.csv")


@pytest.mark.parametrize("scripts", [True, False])
def test_everything_can_be_done_with_and_without_scripts(
    scripts: bool, valkey: Server, namespace: str, visits: Callable[..., Visits]
) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        ids = [
            store.store(b"%d" % number, run_id="a", tags={"n": str(number % 2)}).artifact_id for number in range(120)
        ]
        store.store(b"119", run_id="b")
        with serving(f"--url {valkey.url} --namespace {namespace}", "--allow-delete") as address:
            page = visits(java_script_enabled=scripts).page()
            page.goto(address)
            page.get_by_role("link", name="Runs", exact=True).click()
            follow(page, page.get_by_role("link", name="a", exact=True))
            assert ids_of_pages(page) == sorted(ids)
            page.get_by_role("link", name="First page").click()
            page.get_by_label("Tag").fill("n")
            page.get_by_label("is", exact=True).fill("1")
            follow(page, page.get_by_role("button", name="Show"))
            assert ids_of_pages(page) == sorted(ids[1::2])
            page.get_by_role("searchbox", name="Find").fill(ids[119])
            page.get_by_role("searchbox", name="Find").press("Enter")
            with page.expect_download() as download:
                page.get_by_role("link", name="Download").click()
            assert Path(download.value.path()).read_bytes() == b"119"
            page.get_by_role("link", name="the lease of b").click()
            page.get_by_role("button", name="Give up").click()
            expect(page.get_by_role("status")).to_have_text("The lease was given up.")
            page.get_by_role("link", name="Delete").click()
            page.get_by_role("link", name="Keep it").click()
            page.get_by_role("link", name="Delete").click()
            page.get_by_role("button", name="Delete").click()
            expect(page.get_by_role("status")).to_have_text("The artifact was deleted for every run.")
            assert not store.exists(ids[119])


def follow(page: Page, to: Locator) -> None:
    """Click, and wait for the page behind it: who reads lists at once may still see the page before, or half of one."""
    with page.expect_navigation():
        to.click()


def ids_of_pages(page: Page) -> list[str]:
    """What this page and those behind it list."""
    seen: list[str] = []
    while True:
        seen += [link.get_attribute("title") or "" for link in page.locator("a.id").all()]
        following = page.get_by_role("link", name="Next page")
        if not following.count():
            return sorted(seen)
        follow(page, following)


def test_the_keyboard_is_enough(site: Site, visits: Callable[..., Visits]) -> None:
    visitor = visits(permissions=["clipboard-read", "clipboard-write"])
    page = visitor.page()
    page.goto(f"{site.address}/artifacts/{site.ids['tree']}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    copy = page.get_by_role("button", name="Copy")
    while not copy.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == f'{{"$artifact": "{site.ids["tree"]}"}}'
    page.keyboard.press("/")
    page.keyboard.type(AGENT)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(AGENT)


@contextmanager
def elsewhere(html: str) -> Iterator[str]:
    """Another site, on another port: to a browser the same site, but another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def test_no_other_site_deletes_frames_or_reads_the_page(site: Site, visits: Callable[..., Visits]) -> None:
    artifact_id = site.ids["hex"]
    visitor = visits()
    page = visitor.page()
    page.goto(f"{site.address}/artifacts/{artifact_id}/delete")  # the visitor has the cookie now
    form = f'<form method="post" action="{site.address}/artifacts/{artifact_id}/delete"><input name="secret" value="x"></form>'
    with (
        elsewhere(f"{form}<script>document.forms[0].submit()</script>") as address,
        page.expect_navigation(url="**/delete") as answer,
    ):
        page.goto(address)
    assert answer.value.status == 403  # type: ignore[union-attr]
    assert site.store.exists(artifact_id)
    with elsewhere(
        f'<iframe src="{site.address}/"></iframe><img src="{site.address}/artifacts/{site.ids["image"]}/image">'
    ) as address:
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert all("Overview" not in frame.content() for frame in page.frames[1:])
        read = page.evaluate(f"fetch('{site.address}/').then(() => 'read', () => 'refused')")
        assert read == "refused"
    refused = [
        complaint
        for complaint in visitor.complaints
        if "refused" in complaint.lower() or "CORS" in complaint or "frame" in complaint
    ]
    assert refused
    visitor.complaints.clear()


class Zeros(io.RawIOBase):
    """As many zeros as somebody wants."""

    def __init__(self, size: int) -> None:
        self._left = self._size = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size - self._left

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.tell(), self._size)[whence]
        self._left = self._size - base - offset
        return base + offset

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        count = min(len(buffer), self._left)
        buffer[:count] = bytes(count)
        self._left -= count
        return count


@pytest.mark.parametrize("gib", [6])
def test_a_large_artifact_is_seen_by_its_beginning_and_downloaded_in_ranges(
    gib: int, valkey: Server, namespace: str, visits: Callable[..., Visits]
) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        view = store.store_file(Zeros(gib * 2**30), run_id="a", tags={"path": "zeros.img"}, ttl=3600)
        with serving(f"--url {valkey.url} --namespace {namespace}") as address:
            visitor = visits(viewport={"width": 1600, "height": 900})
            page = visitor.page()
            page.goto(f"{address}/artifacts/{view.artifact_id}")
            look_at(page, "large-1600-light")
            expect(page.get_by_text("the first 4.10 kB of")).to_be_visible()
            end = visitor.context.request.get(
                f"{address}/artifacts/{view.artifact_id}/content", headers={"Range": "bytes=-1000"}
            )
            assert (end.status, end.body()) == (206, bytes(1000))
        store.delete(view.artifact_id)


def test_states_that_nobody_likes_look_right_too(
    valkey: Server, namespace: str, visits: Callable[..., Visits], tmp_path: Path
) -> None:
    visitor = visits(viewport={"width": 1600, "height": 900})
    page = visitor.page()
    with serving(f"--url {valkey.url} --namespace {namespace}") as address:
        page.goto(address)
        look_at(page, "empty-1600-light")
        expect(page.get_by_text("coatcheck put")).to_be_visible()
        with RedisArtifactStore(valkey.url, namespace=namespace) as store:
            view = store.store(b"brief", run_id="a", ttl=0.3)
            page.goto(f"{address}/artifacts/{view.artifact_id}")
            eventually(lambda: not store.exists(view.artifact_id))
        page.reload()
        look_at(page, "expired-1600-light")
        expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    with serving("--url redis://:hunter2@127.0.0.1:1/0") as address:
        page.goto(address)
        look_at(page, "lost-1600-light")
        expect(page.get_by_role("heading", level=1)).to_have_text("The store does not answer")
        assert "hunter2" not in page.content()


def test_a_hundred_thousand_runs_are_paged_and_searched(
    valkey: Server, namespace: str, visits: Callable[..., Visits]
) -> None:
    with RedisArtifactStore(valkey.url, namespace=namespace) as store:
        artifact_id = store.store(b"shared by many").artifact_id
        for number in range(100_000):
            store.find_missing([artifact_id], ttl=3600, run_id=f"run-{number:06}")
        with serving(f"--url {valkey.url} --namespace {namespace}") as address:
            page = visits(viewport={"width": 1600, "height": 900}).page()
            page.goto(f"{address}/runs")
            look_at(page, "many-runs-1600-light")
            expect(page.get_by_role("heading", level=1)).to_have_text("Runs 100,000")
            page.get_by_label("Name contains").fill("99_9".replace("_", "99"))
            page.get_by_role("button", name="Show").click()
            expect(page.get_by_role("link", name="run-099999")).to_be_visible()
            page.goto(f"{address}/artifacts/{artifact_id}")
            look_at(page, "many-leases-1600-light")
            expect(page.get_by_role("heading", name="Leased by")).to_contain_text("100,001")
        store.delete(artifact_id)


def test_the_bytes_that_a_browser_saves_are_those_that_were_stored(site: Site, visits: Callable[..., Visits]) -> None:
    page = visits().page()
    page.goto(f"{site.address}/artifacts/{site.ids['hex']}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "weights.bin"
    saved = hashlib.sha256(Path(download.value.path()).read_bytes()).hexdigest()
    assert saved.startswith(site.ids["hex"])
