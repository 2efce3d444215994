"""A browser, a store on a real server, and the page of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from coatcheck import RedisArtifactStore
from coatcheck.testing import Server

from ..conftest import binary_of
from .gallery import fill

PICTURES = Path(__file__).parents[2] / "build" / "ui"


@pytest.fixture(autouse=True)
def no_leaks() -> None:
    """Nothing is looked for here: a browser has files, threads and connections as long as it runs."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        pytest.fail("no Chromium on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@dataclass
class Site:
    """A served page, its store, and what its preview pages are."""

    address: str
    store: RedisArtifactStore
    ids: dict[str, str]


@contextmanager
def serving(url: str, *arguments: str) -> Iterator[str]:
    """`coatcheck ui` in a process of its own."""
    command = [sys.executable, "-m", "coatcheck", *url.split(), "ui", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip().rstrip("/")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A store as on a working day. Its pictures are published: its address is no path of this machine."""
    with (
        Server(binary_of("valkey"), "--maxmemory", "16mb", tcp=True) as server,
        RedisArtifactStore(server.tcp_url, namespace="gallery") as store,
    ):
        ids = fill(store)
        with serving(f"--url {server.tcp_url} --namespace gallery", "--allow-delete") as address:
            yield Site(address, store, ids)


class Visits:
    """Pages of one visitor, who notices whatever a page does that it should not."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.complaints: list[str] = []
        context.on("page", self._watch)

    def _watch(self, page: Page) -> None:
        page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("request", lambda request: self._ask(request.url))

    def _hear(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.complaints.append(f"{kind}: {text}")

    def _ask(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "http://localhost:")):
            self.complaints.append(f"request: {url}")

    def page(self) -> Page:
        return self.context.new_page()


@pytest.fixture
def visits(browser: Browser) -> Iterator[Callable[..., Visits]]:
    """Makes visitors, by what `Browser.new_context` takes; in the end nothing must have gone wrong."""
    made: list[Visits] = []

    def make(**options: object) -> Visits:
        made.append(Visits(browser.new_context(**options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for visitor in made:
        visitor.context.close()
    assert [complaint for visitor in made for complaint in visitor.complaints] == []
