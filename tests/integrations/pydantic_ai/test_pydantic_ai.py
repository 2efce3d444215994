"""Media and tool outputs of agents: both protocols, over every backend, and a real agent."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_harness.media import DiskMediaStore, MediaContext, MediaStore, externalize_media, restore_media
from pydantic_ai_harness.tool_output_limits import Band, OverflowStore, Spill, ToolOutputLimits

from coatcheck import AsyncInMemoryArtifactStore, CorruptArtifactError, open_store
from coatcheck.integrations.pydantic_ai import CoatcheckMediaStore, CoatcheckOverflowStore
from coatcheck.testing import eventually

from ...snippets import DOCS, run_snippets


@pytest.fixture(params=["file", "valkey", "valkey_cluster"])
def place(request: pytest.FixtureRequest, tmp_path: Path, namespace: str) -> Iterator[dict]:
    """Where stores are opened, and closed by the test."""
    if request.param == "file":
        yield {"store": f"file://{tmp_path}"}
    else:
        yield {"store": request.getfixturevalue(request.param).url, "namespace": namespace}


def test_they_are_what_the_harness_asks_for() -> None:
    assert isinstance(CoatcheckMediaStore(), MediaStore)
    assert isinstance(CoatcheckOverflowStore(), OverflowStore)


def test_media(place: dict) -> None:
    async def main() -> None:
        async with CoatcheckMediaStore(**place) as media:
            context = MediaContext(media_type="image/png", filename="a.png", metadata={"from": "camera"})
            uri = await media.put(b"pixels", context=context)
            assert uri == f"media+sha256://{hashlib.sha256(b'pixels').hexdigest()}"
            assert await media.get(uri) == b"pixels"
            assert await media.exists(uri)
            assert await media.get_metadata(uri) == {"from": "camera"}
            assert await media.public_url(uri) is None
            assert await media.put(b"pixels") == uri
            assert await media.get_metadata(uri) == {}
            assert await media.put(b"") == f"media+sha256://{hashlib.sha256().hexdigest()}"

    asyncio.run(main())


def test_media_that_are_not_there(place: dict) -> None:
    async def main() -> None:
        async with CoatcheckMediaStore(**place) as media:
            uri = await media.put(b"pixels")
            other = uri[:-1] + ("0" if uri[-1] != "0" else "1")  # its first half is the same
            for absent in (other, f"media+sha256://{'0' * 64}"):
                assert not await media.exists(absent)
                for ask in (media.get, media.get_metadata):
                    with pytest.raises(FileNotFoundError, match=re.escape(absent)):
                        await ask(absent)
            for bad in ("", "https://example.org", uri[:-1], uri.upper()):
                for ask in (media.get, media.get_metadata, media.exists):
                    with pytest.raises(ValueError, match="media|digest"):
                        await ask(bad)

    asyncio.run(main())


def test_metadata_of_others_are_not_shown(place: dict) -> None:
    async def main() -> None:
        async with CoatcheckMediaStore(**place) as mine, CoatcheckMediaStore(**place, run_id="other") as other:
            uri = await mine.put(b"pixels", context=MediaContext(metadata={"whose": "mine"}))
            assert await other.get_metadata(uri) == {}
            await other.put(b"pixels", context=MediaContext(metadata={"whose": "other"}))
            assert await mine.get_metadata(uri) == {"whose": "mine"}

    asyncio.run(main())


@pytest.mark.parametrize("awaited", [False, True])
def test_public_urls(awaited: bool) -> None:
    def plain(uri: str, context: MediaContext) -> str:
        return f"https://example.org/{uri[-4:]}?{context.media_type}"

    async def coroutine(uri: str, context: MediaContext) -> str:
        return plain(uri, context)

    async def main() -> None:
        media = CoatcheckMediaStore("memory://", public_url=coroutine if awaited else plain)
        url = await media.public_url("media+sha256://abcd", context=MediaContext(media_type="image/png"))
        assert url == "https://example.org/abcd?image/png"

    asyncio.run(main())


def test_messages_are_made_small_and_whole_again(place: dict, tmp_path: Path) -> None:
    message = {"kind": "binary", "data": "AAAA" * 1000, "media_type": "image/png", "identifier": "x"}
    history = [{"parts": [{"part_kind": "user-prompt", "content": ["look", message]}]}]

    async def main() -> None:
        disk = DiskMediaStore(tmp_path / "disk")
        async with CoatcheckMediaStore(**place) as media:
            small = await externalize_media(history, media_store=media, threshold_bytes=100)
            assert len(repr(small)) < 1000
            assert small == await externalize_media(history, media_store=disk, threshold_bytes=100)
            assert await restore_media(small, media_store=media) == history

    asyncio.run(main())


def test_tool_outputs(place: dict) -> None:
    async def main() -> None:
        async with CoatcheckOverflowStore(**place) as outputs:
            handle = await outputs.write("run-1/call-1.0", b"long" * 1000)
            assert handle == "run-1/call-1.0"
            assert await outputs.read(handle) == b"long" * 1000
            assert await outputs.write("run-1/call-1.0", b"again") == handle
            assert await outputs.read(handle) == b"again"
            for absent in ("run-1/call-2.0", "", "../x", "ä" * 500):
                with pytest.raises(FileNotFoundError, match="no tool output"):
                    await outputs.read(absent)

    asyncio.run(main())
    with open_store(place["store"], namespace=place.get("namespace")) as store:
        other = store.store(b"of somebody else")
        assert store.delete_by_run("run-1") == 1

    async def later() -> None:
        async with CoatcheckOverflowStore(**place) as outputs:
            for handle in ("run-1/call-1.0", other.artifact_id):
                with pytest.raises(FileNotFoundError):
                    await outputs.read(handle)

    asyncio.run(later())


def test_lifetimes(valkey, namespace: str) -> None:
    outputs = CoatcheckOverflowStore(valkey.url, namespace=namespace, default_ttl=0.05)
    handle = asyncio.run(outputs.write("run/call", b"brief"))

    def is_gone() -> bool:
        try:
            asyncio.run(outputs.read(handle))
        except FileNotFoundError:
            return True
        return False

    eventually(is_gone)
    asyncio.run(outputs.close())


def test_damage_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with CoatcheckMediaStore(f"file://{tmp_path}") as media:
            uri = await media.put(b"pixels")
            [blob] = (tmp_path / "artifacts" / "blobs").iterdir()
            blob.chmod(0o600)
            blob.write_bytes(b"pixelS")
            with pytest.raises(CorruptArtifactError):
                await media.get(uri)

    asyncio.run(main())


def test_one_store_in_one_event_loop_after_another(place: dict) -> None:
    media = CoatcheckMediaStore(**place)
    uris = [asyncio.run(media.put(b"pixels %d" % i)) for i in range(3)]
    assert [asyncio.run(media.get(uri)) for uri in uris] == [b"pixels 0", b"pixels 1", b"pixels 2"]
    asyncio.run(media.close())


def test_an_agent_whose_tool_says_too_much(place: dict) -> None:
    """The output goes to the store, the model sees its beginning, and reads more of it by the handle."""

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        if not returned:
            return ModelResponse(parts=[ToolCallPart("read_report", {})])
        if len(returned) == 1:
            handle = re.search(r"handle='([^']+)'", str(returned[0].content))[1]
            arguments = {"handle": handle, "offset": 0, "limit": 5, "from_end": False, "pattern": "line 4242"}
            return ModelResponse(parts=[ToolCallPart("read_tool_result", arguments)])
        return ModelResponse(parts=[TextPart(str(returned[1].content))])

    async def main() -> None:
        async with CoatcheckOverflowStore(**place) as outputs:
            limits = ToolOutputLimits(bands=[Band(over=1_000, action=Spill())], store=outputs)
            agent = Agent(FunctionModel(model), capabilities=[limits])

            @agent.tool_plain
            def read_report() -> str:
                return "".join(f"line {i}: all is well\n" for i in range(10_000))

            result = await agent.run("Is all well in line 4242?")
            assert "line 4242: all is well" in result.output
            assert len(result.all_messages_json()) < 10_000
            run_id = result.run_id
        with open_store(place["store"], namespace=place.get("namespace")) as store:
            assert store.list_runs() == [run_id]
            assert store.delete_by_run(run_id) == 1

    asyncio.run(main())


def test_nothing_is_shown_or_opened_before_its_use(tmp_path: Path) -> None:
    media = CoatcheckMediaStore("redis://:hunter2@127.0.0.1:1")
    assert repr(media) == "CoatcheckMediaStore(redis://…)"
    CoatcheckOverflowStore(f"file://{tmp_path}/new")
    assert not (tmp_path / "new").exists()


def test_a_store_that_was_given_stays_open() -> None:
    async def main() -> None:
        async with AsyncInMemoryArtifactStore() as store:
            async with CoatcheckMediaStore(store) as media:
                uri = await media.put(b"pixels")
            assert await CoatcheckMediaStore(store).get(uri) == b"pixels"

    asyncio.run(main())


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "pydantic_ai.md")
