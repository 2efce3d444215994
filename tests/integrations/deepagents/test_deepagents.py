"""`CoatcheckBackend`: an agent that works in it, Deep Agents' own backend as the judge, and editors at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from deepagents import create_deep_agent
from deepagents.backends import CompositeBackend, StateBackend, StoreBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.store.memory import InMemoryStore

from coatcheck import InMemoryArtifactStore, open_store
from coatcheck.integrations.deepagents import CoatcheckBackend
from coatcheck.testing import eventually

from ...snippets import DOCS, run_snippets

BINARY = b"\x89PNG\xff\x00" * 10


@pytest.fixture(params=["valkey", "valkey_cluster", "file"])
def place(request, tmp_path: Path, namespace: str) -> tuple[str, dict[str, Any]]:
    if request.param == "file":
        return f"file://{tmp_path}", {}
    return request.getfixturevalue(request.param).url, {"namespace": namespace}


@pytest.fixture
def backend(place):
    url, options = place
    backend = CoatcheckBackend(url, collection="project", **options)
    yield backend
    backend.close()


# An agent -----------------------------------------------------------------------------------------------------------


class Scripted(BaseChatModel):
    """A model that calls the tools of a script one after the other, then says what they returned."""

    script: list[tuple[str, dict[str, Any]]]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **more: Any) -> BaseChatModel:
        return self

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **more: Any) -> ChatResult:
        answers = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        if len(answers) < len(self.script):
            name, arguments = self.script[len(answers)]
            message = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": str(len(answers))}])
        else:
            message = AIMessage("\n".join(answers[3:]))
        return ChatResult(generations=[ChatGeneration(message=message)])


SCRIPT = [
    ("write_file", {"file_path": "/notes/a.md", "content": "one\ntwo\n"}),
    ("edit_file", {"file_path": "/notes/a.md", "old_string": "two", "new_string": "three"}),
    ("write_file", {"file_path": "/b.txt", "content": "three"}),
    ("read_file", {"file_path": "/notes/a.md"}),
    ("ls", {"path": "/"}),
    ("glob", {"pattern": "*.md"}),
    ("grep", {"pattern": "three"}),
]


@pytest.mark.parametrize("awaited", [False, True])
def test_an_agent_works_with_files(backend, awaited) -> None:
    agent = create_deep_agent(model=Scripted(script=SCRIPT), backend=backend)
    state = {"messages": [("user", "go on")]}
    result = asyncio.run(agent.ainvoke(state)) if awaited else agent.invoke(state)
    said = result["messages"][-1].content
    for expected in ("one", "three", "/notes/", "/b.txt", "/notes/a.md"):
        assert expected in said
    assert "two" not in said
    assert backend.download_files(["/notes/a.md"])[0].content == b"one\nthree\n"


def test_a_part_of_an_agents_files_may_lie_here(backend) -> None:
    composite = CompositeBackend(default=StateBackend(), routes={"/shared/": backend})
    agent = create_deep_agent(
        model=Scripted(script=[("write_file", {"file_path": "/shared/x.txt", "content": "shared"})]), backend=composite
    )
    agent.invoke({"messages": [("user", "go on")]})
    assert backend.read("/x.txt").file_data["content"] == "shared"


# Their own backend as the judge -------------------------------------------------------------------------------------

paths = st.sampled_from(["/a.txt", "/b.md", "/dir/a.txt", "/dir/sub/c.txt", "/dir", "/.hidden/x.yml"])
folders = st.sampled_from(["/", "/dir", "/dir/", "/dir/sub", "/never", "/a.txt"])
texts = st.sampled_from(["", " \n", "one", "one\ntwo\nthree", "one\r\ntwo\r\n", "two two\n", "\N{ADMISSION TICKETS}"])
patterns = st.sampled_from(["*.txt", "**/*.txt", "/*.txt", "dir/*", "*", "{a,b}.*", "../x", "sub/**"])
needles = st.sampled_from(["one", "two", "", "two\n", "\N{ADMISSION TICKETS}"])
files = st.tuples(paths, st.just(b"one")) | st.just(("/p.png", BINARY))  # by their names, too, text or not
calls = st.one_of(
    st.tuples(st.just("write"), paths, texts),
    st.tuples(st.just("read"), paths | st.just("/p.png"), st.integers(-1, 3), st.integers(-1, 3)),
    st.tuples(st.just("edit"), paths, needles, st.sampled_from(["1", "two"]), st.booleans()),
    st.tuples(st.just("delete"), folders | paths),
    st.tuples(st.just("ls"), folders),
    st.tuples(st.just("glob"), patterns, st.none() | folders),
    st.tuples(st.just("grep"), needles, st.none() | folders, st.none() | patterns),
    st.tuples(st.just("upload_files"), st.lists(files, max_size=3)),
    st.tuples(st.just("download_files"), st.lists(paths | st.just("/p.png"), max_size=3)),
)


def shown(result: Any) -> Any:
    """A result without times, and without an order where none is promised."""
    if isinstance(result, list):
        return result
    plain = {name: value for name, value in vars(result).items() if name != "file_data"}
    if getattr(result, "file_data", None):
        plain["file_data"] = (result.file_data["content"], result.file_data["encoding"])
    for name in ("matches", "entries"):
        if plain.get(name):
            without = [{k: v for k, v in one.items() if k not in ("modified_at", "size")} for one in plain[name]]
            plain[name] = sorted(without, key=str)
    return plain


@settings(max_examples=60)
@given(st.lists(calls, min_size=5, max_size=30))
def test_it_answers_as_the_backend_of_stores_does(script) -> None:
    with InMemoryArtifactStore() as store:
        ours = CoatcheckBackend(store, collection="project")
        theirs = StoreBackend(store=InMemoryStore(), namespace=lambda _: ("files",))
        for name, *arguments in script:
            answers = [shown(getattr(one, name)(*arguments)) for one in (ours, theirs)]
            assert answers[0] == answers[1], (name, arguments)


# Many at once -------------------------------------------------------------------------------------------------------


def test_no_edit_is_lost(backend, place) -> None:
    url, options = place
    backend.write("/list.txt", "end")

    def add(n: int) -> None:
        mine = CoatcheckBackend(url, collection="project", **options)
        for i in range(4):
            assert mine.edit("/list.txt", "end", f"{n}.{i} end").error is None
        mine.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, range(4)))
    words = backend.read("/list.txt").file_data["content"].split()
    assert sorted(words) == sorted([*(f"{n}.{i}" for n in range(4) for i in range(4)), "end"])


# What else it promises ----------------------------------------------------------------------------------------------


def test_files_have_times_and_sizes(backend) -> None:
    backend.write("/a.txt", "\N{ADMISSION TICKETS}")
    first = backend.read("/a.txt").file_data
    backend.edit("/a.txt", "\N{ADMISSION TICKETS}", "b")
    second = backend.read("/a.txt").file_data
    assert first["created_at"] == first["modified_at"] == second["created_at"] < second["modified_at"]
    [info] = backend.ls("/").entries
    assert info == {"path": "/a.txt", "is_dir": False, "size": 1, "modified_at": second["modified_at"]}


def test_bytes_come_back_as_they_were(backend) -> None:
    answers = backend.upload_files([("/a.png", BINARY), ("../x", b""), ("/large", b"x" * 20_000_000)])
    assert [answer.error for answer in answers] == [None, "invalid_path", None]
    read = backend.download_files(["/large", "/a.png", "/never", "C:/x"])
    assert [answer.error for answer in read] == [None, None, "file_not_found", "invalid_path"]
    assert [answer.content for answer in read[:2]] == [b"x" * 20_000_000, BINARY]
    assert backend.read("/a.png").file_data["encoding"] == "base64"
    assert "binary" in backend.edit("/a.png", "P", "Q").error
    assert backend.grep("PNG").matches == []
    assert backend.grep("x", max_count=0).truncated


def test_collections_are_apart_and_are_runs(place) -> None:
    url, options = place
    names = iter(["one", "other", "one", "other"])
    backend = CoatcheckBackend(url, collection=lambda: next(names), **options)
    for text in "12":
        backend.write("/a.txt", text)
    assert [backend.read("/a.txt").file_data["content"] for _ in range(2)] == ["1", "2"]
    backend.close()
    with open_store(url, **options) as store:
        assert store.list_runs() == ["one", "other"]


def test_files_end_with_their_ttl(place) -> None:
    url, options = place
    backend = CoatcheckBackend(url, collection="project", ttl=0.2, **options)
    backend.write("/a.txt", "x")
    backend.upload_files([("/b.txt", b"x")])
    eventually(lambda: backend.ls("/").entries == [])
    assert "not found" in backend.read("/a.txt").error
    backend.close()


def test_paths_that_make_no_sense_are_told(backend) -> None:
    for path in ("/../x", "~/x", "C:/x", "/" + "x" * 1100):
        assert backend.read(path).error
        assert backend.write(path, "x").error
        assert backend.edit(path, "x", "y").error
    assert backend.write("/a.txt", "\ud800").error
    assert backend.ls("/").entries == []
    assert "secret" not in repr(CoatcheckBackend("redis://:secret@localhost", collection="c"))


def test_the_guide(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "deepagents.md")
