"""What README and docs show is true: snippets run and are typed, links lead somewhere.

The snippets of a page are one program, run in a directory beside a few files. One with a title is a file of that name,
which others may import. Where a snippet names the server at `redis://localhost:6379/0`, it meets a real one.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from coatcheck import ArtifactStore, errors
from coatcheck.testing import Server

from .snippets import DOCS, ROOT, run_snippets, snippets

SERVER = "redis://localhost:6379/0"
FILES = ["ca.pem", "me.pem", "me.key"]
DOCUMENTS = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]
ELSEWHERE = ["docs/integrations", "docs/guides/task-queues.md"]  # in tests/integrations, which have what these need
PAGES = [
    page for page in DOCUMENTS if snippets(page) and not any(page.is_relative_to(ROOT / other) for other in ELSEWHERE)
]
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a reader would try things out: a directory with a few files, and an embedded engine of its own."""
    for name in FILES:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("COATCHECK_URL", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))  # short enough for a socket
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@each_page
def test_the_snippets_of_a_page(page: Path, place: Path, valkey: Server, leaks) -> None:
    leaks.own("coatcheck")
    names: dict = {}
    try:
        run_snippets(page, names, place, **{SERVER: valkey.tcp_url})
    finally:
        for value in names.values():
            if isinstance(value, ArtifactStore):
                value.close()


def test_the_snippets_are_typed(tmp_path: Path) -> None:
    """Strictly, all at once, and as `make check` does it: what that knows of the package is not found out again."""
    for page in PAGES:
        one: list[str] = []
        for title, source in snippets(page):
            if title is None:
                one += source.splitlines()[len(one) :]  # each line where it is on the page
            else:
                assert not (tmp_path / title).exists(), f"two snippets have the title {title}"
                (tmp_path / title).write_text(source)
        name = re.sub(r"\W", "_", str(page.relative_to(ROOT).with_suffix("")))
        # The last line is an option: given to mypy, it would be one of the package too.
        (tmp_path / f"{name}.py").write_text("\n".join([*one, "# mypy: allow-redefinition"]) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *tmp_path.glob("*.py")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": f"src:{tmp_path}"},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(document.relative_to(ROOT)) for document in DOCUMENTS])
def test_the_python_and_the_links_of_a_document_are_found(document: Path) -> None:
    text = document.read_text()
    assert len(re.findall(r"^ *```(?:py|\{)", text, re.MULTILINE)) == len(snippets(document))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            assert (document.parent / path).exists(), target
            assert not anchor or anchor in anchors(document.parent / path if path else document), target


def test_the_index_of_integrations_names_each_once() -> None:
    named = re.findall(r"^\| \[.*\]\((\w+\.md)\) \|", (DOCS / "integrations" / "index.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted({page.name for page in (DOCS / "integrations").glob("*.md")} - {"index.md"})


def test_the_page_of_errors_names_each() -> None:
    page = (DOCS / "errors.md").read_text()
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, Exception) and error is not errors.ArtifactError:
            assert page.count(name) >= (2 if issubclass(error, errors.ArtifactError) else 1), name


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md")) + "::: coatcheck.errors"
    explained = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE)) | {f"coatcheck.{name}" for name in vars(errors)}
    elsewhere = ["coatcheck.moving.OnMove", "coatcheck.values.Limits"]  # a type of functions; in `offloading`
    for module in (
        "",
        ".doctor",
        ".embedded",
        ".keyed",
        ".moving",
        ".offloading",
        ".testing",
        ".trees",
        ".ui",
        ".values",
    ):
        for name in importlib.import_module(f"coatcheck{module}").__all__:
            if not name.isupper():
                assert f"coatcheck{module}.{name}" in {*explained, *elsewhere}


def test_llms_txt_names_every_page() -> None:
    named = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "llms.txt").read_text()))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert named == {page for page in pages if not page.startswith("integrations/")} | {"integrations/index.md"}


def anchors(document: Path) -> set[str]:
    """What headings are called, by GitHub as by the site."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
