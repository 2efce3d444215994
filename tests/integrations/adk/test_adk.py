"""`CoatcheckArtifactService`: an agent that uses it, ADK's own service in memory as the judge, and savers at once."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.adk.agents import LlmAgent
from google.adk.artifacts import BaseArtifactService, InMemoryArtifactService
from google.adk.errors.input_validation_error import InputValidationError
from google.adk.models import BaseLlm, LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import ToolContext
from google.genai import types
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coatcheck import AsyncInMemoryArtifactStore, InvalidArtifactError, open_store
from coatcheck.integrations.adk import CoatcheckArtifactService

from ...snippets import DOCS, run_snippets

HERE = {"app_name": "app", "user_id": "user", "session_id": "session"}


@pytest.fixture(params=["valkey", "valkey_cluster", "file"])
def place(request, tmp_path: Path, namespace: str) -> tuple[str, dict[str, Any]]:
    if request.param == "file":
        return f"file://{tmp_path}", {}
    return request.getfixturevalue(request.param).url, {"namespace": namespace}


@pytest.fixture
def service(place) -> Iterator[CoatcheckArtifactService]:
    url, options = place
    service = CoatcheckArtifactService(url, **options)
    yield service
    asyncio.run(service.close())


def blob(data: bytes = b"data", mime_type: str = "image/png", **more: Any) -> types.Part:
    return types.Part(inline_data=types.Blob(data=data, mime_type=mime_type, **more))


def reference(filename: str, version: int, session_id: str | None = "session", user_id: str = "user") -> types.Part:
    session = "" if session_id is None else f"/sessions/{session_id}"
    uri = f"artifact://apps/app/users/{user_id}{session}/artifacts/{filename}/versions/{version}"
    return types.Part(file_data=types.FileData(file_uri=uri))


PARTS = [
    blob(),
    blob(b"", "image/png", display_name="a name"),
    blob(b"\x00\xff" * 50_000, "application/pdf"),
    blob(b"", "application/octet-stream"),  # what a rewind saves
    types.Part(text=""),
    types.Part(text="\N{ADMISSION TICKETS} text", thought=True),
    types.Part(file_data=types.FileData(file_uri="gs://bucket/file", mime_type="video/mp4")),
    types.Part(text="signed", thought_signature=b"\x00\xff"),
]


# An agent -----------------------------------------------------------------------------------------------------------


class Scripted(BaseLlm):
    """A model that calls the tools of a script one after the other, then says what the last of them returned."""

    script: list[tuple[str, dict[str, Any]]]

    async def generate_content_async(self, llm_request, stream: bool = False):
        answers = [
            part.function_response.response
            for content in llm_request.contents
            for part in content.parts
            if part.function_response
        ]
        if len(answers) < len(self.script):
            name, arguments = self.script[len(answers)]
            part = types.Part(function_call=types.FunctionCall(name=name, args=arguments))
        else:
            part = types.Part(text=str(answers[-1]["result"]))
        yield LlmResponse(content=types.Content(role="model", parts=[part]))


async def write(filename: str, text: str, tool_context: ToolContext) -> int:
    """Keep a text."""
    return await tool_context.save_artifact(filename, types.Part(text=text))


async def read(filename: str, tool_context: ToolContext) -> str:
    """Read what was kept, and tell the names of everything."""
    part = await tool_context.load_artifact(filename)
    return f"{part.text} {await tool_context.list_artifacts()}"


def test_an_agent_keeps_its_artifacts(service) -> None:
    script = [
        ("write", {"filename": "notes.md", "text": "first"}),
        ("write", {"filename": "notes.md", "text": "second"}),
        ("write", {"filename": "user:profile", "text": "mine"}),
        ("read", {"filename": "notes.md"}),
    ]

    async def converse() -> str:
        agent = LlmAgent(name="agent", model=Scripted(model="scripted", script=script), tools=[write, read])
        sessions = InMemorySessionService()
        await sessions.create_session(**HERE)
        runner = Runner(app_name="app", agent=agent, session_service=sessions, artifact_service=service)
        said = types.Content(role="user", parts=[types.Part(text="go on")])
        answer = ""
        async for event in runner.run_async(user_id="user", session_id="session", new_message=said):
            if event.is_final_response():
                answer = event.content.parts[0].text
        assert await service.list_versions(filename="notes.md", **HERE) == [0, 1]
        return answer

    assert asyncio.run(converse()) == "second ['notes.md', 'user:profile']"


# ADK's own service as the judge -------------------------------------------------------------------------------------

names = st.sampled_from(["a", "a/b", "user:a", "*", "a" * 100])
sessions = st.sampled_from(["s1", "s2", None])
versions = st.sampled_from([None, 0, 1, 2, 5, -1])
parts = st.sampled_from([*PARTS, {"inlineData": {"data": "ZGF0YQ==", "mimeType": "text/csv"}}])
metadata = st.sampled_from([None, {}, {"k": "v", "n": [1, {"deep": None}]}])
calls = st.one_of(
    st.tuples(
        st.just("save_artifact"),
        names,
        sessions,
        st.fixed_dictionaries({"artifact": parts, "custom_metadata": metadata}),
    ),
    st.tuples(
        st.sampled_from(["load_artifact", "get_artifact_version"]),
        names,
        sessions,
        st.fixed_dictionaries({"version": versions}),
    ),
    st.tuples(
        st.sampled_from(["list_versions", "list_artifact_versions", "delete_artifact"]), names, sessions, st.just({})
    ),
    st.tuples(st.just("list_artifact_keys"), st.none(), sessions, st.just({})),
)


async def answer(service: BaseArtifactService, call) -> Any:
    name, filename, session_id, more = call
    where = {} if filename is None else {"filename": filename}
    try:
        result = await getattr(service, name)(app_name="app", user_id="u", session_id=session_id, **where, **more)
    except InputValidationError:
        return "refused"
    shown = []
    for one in result if isinstance(result, list) else [result]:
        if hasattr(one, "canonical_uri"):
            assert one.create_time > 1.7e9
            one = one.model_dump(exclude={"create_time", "canonical_uri"})
        shown.append(one)
    return shown


@settings(max_examples=40)
@given(st.lists(calls, min_size=5, max_size=30))
@example([("load_artifact", "a", "s1", {"version": -1})])
def test_it_answers_as_the_service_in_memory_does(script) -> None:
    async def compare() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            ours, theirs = CoatcheckArtifactService(store), InMemoryArtifactService()
            for call in script:
                assert await answer(ours, call) == await answer(theirs, call), call

    asyncio.run(compare())


def test_every_part_comes_back_as_it_was(service) -> None:
    async def main() -> None:
        for part in PARTS:
            version = await service.save_artifact(filename="f", artifact=part, custom_metadata={"n": 1}, **HERE)
            loaded = await service.load_artifact(filename="f", **HERE)
            assert loaded == (None if part == PARTS[3] else part)
            found = await service.get_artifact_version(filename="f", version=version, **HERE)
            assert (found.version, found.custom_metadata) == (version, {"n": 1})
            again = await service.load_artifact(filename="f", version=version, **HERE)
            assert again == loaded
        assert await service.list_versions(filename="f", **HERE) == list(range(len(PARTS)))
        await service.delete_artifact(filename="f", **HERE)
        assert await service.list_artifact_keys(**HERE) == []

    asyncio.run(main())


# References ---------------------------------------------------------------------------------------------------------


def test_references_are_followed_within_a_user(service) -> None:
    async def save(filename: str, part: types.Part) -> None:
        await service.save_artifact(filename=filename, artifact=part, **HERE)

    async def main() -> None:
        await save("user:a", blob(b"1"))
        await save("b", reference("user:a", 0, session_id=None))
        await save("c", reference("b", 0))
        assert await service.load_artifact(filename="c", **HERE) == blob(b"1")
        found = await service.get_artifact_version(filename="user:a", **HERE)
        assert found.canonical_uri == "artifact://apps/app/users/user/artifacts/user:a/versions/0"
        await save("d", types.Part(file_data=types.FileData(file_uri=found.canonical_uri)))
        assert await service.load_artifact(filename="d", **HERE) == blob(b"1")
        await save("lost", reference("never", 7))
        assert await service.load_artifact(filename="lost", **HERE) is None
        await save("circle", reference("circle", 0))
        with pytest.raises(InputValidationError, match="circle"):
            await service.load_artifact(filename="circle", **HERE)
        for bad in (
            reference("a", 0, session_id="other"),
            reference("a", 0, user_id="other"),
            types.Part(file_data=types.FileData(file_uri="artifact://nonsense")),
        ):
            with pytest.raises(InputValidationError):
                await save("bad", bad)
        assert "bad" not in await service.list_artifact_keys(**HERE)

    asyncio.run(main())


# Many at once -------------------------------------------------------------------------------------------------------


def save_some(url: str, options: dict[str, Any], count: int, results) -> None:
    async def main() -> list[int]:
        service = CoatcheckArtifactService(url, **options)
        given = await asyncio.gather(
            *(service.save_artifact(filename="f", artifact=blob(b"the same"), **HERE) for _ in range(count))
        )
        await service.close()
        return given

    results.put(asyncio.run(main()))


def test_savers_in_several_processes_skip_no_version_and_share_none(place) -> None:
    url, options = place
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    savers = [context.Process(target=save_some, args=(url, options, 5, results)) for _ in range(3)]
    for saver in savers:
        saver.start()
    given = [version for _ in savers for version in results.get(timeout=60)]
    for saver in savers:
        saver.join(30)
    results.close()
    results.join_thread()
    assert sorted(given) == list(range(15))


# What else it promises ----------------------------------------------------------------------------------------------


def test_a_session_is_a_run(service, place) -> None:
    url, options = place
    other = {**HERE, "session_id": 'session","x'}

    async def save() -> None:
        for where in (HERE, other):
            await service.save_artifact(filename="f", artifact=blob(), **where)
            await service.save_artifact(filename="user:f", artifact=blob(), **where)

    asyncio.run(save())
    with open_store(url, **options) as store:
        assert store.delete_by_run(service.run_of(**HERE)) == 1
    assert asyncio.run(service.list_artifact_keys(**HERE)) == ["user:f"]
    assert asyncio.run(service.list_artifact_keys(**other)) == ["f", "user:f"]
    assert asyncio.run(service.list_versions(filename="user:f", **HERE)) == [0, 1]


def test_one_service_lives_through_several_event_loops_and_ends_with_ttls(place) -> None:
    url, options = place
    service = CoatcheckArtifactService(url, ttl=3600, **options)
    for n in range(3):
        assert asyncio.run(service.save_artifact(filename="f", artifact=blob(b"%d" % n), **HERE)) == n
    asyncio.run(service.close())
    with open_store(url, **options) as store:
        ends = [view.expires_at for view in store.list_by_run(service.run_of(**HERE))]
    assert len(ends) == 3
    assert None not in ends


def test_what_cannot_be_kept_is_refused(service) -> None:
    async def main() -> None:
        for wrong in (
            types.Part(),
            types.Part(inline_data=types.Blob(mime_type="image/png")),
            types.Part(function_call=types.FunctionCall(name="f")),
        ):
            with pytest.raises(InputValidationError):
                await service.save_artifact(filename="f", artifact=wrong, **HERE)
        for where in ({**HERE, "session_id": None}, {**HERE, "user_id": "../x"}, {**HERE, "app_name": ""}):
            with pytest.raises(InputValidationError):
                await service.save_artifact(filename="f", artifact=blob(), **where)
        with pytest.raises(InvalidArtifactError, match="extra"):
            await service.save_artifact(filename="f", artifact=blob(), custom_metadata={"k": {1}}, **HERE)
        assert await service.list_artifact_keys(**HERE) == []

    asyncio.run(main())
    assert "secret" not in repr(CoatcheckArtifactService("redis://:secret@localhost"))


def test_the_guide(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "adk.md")
