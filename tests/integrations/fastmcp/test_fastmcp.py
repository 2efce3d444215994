"""`CoatcheckMiddleware`, with servers and clients of FastMCP in one process."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from fastmcp import Client, FastMCP
from fastmcp.exceptions import McpError, ToolError
from fastmcp.tools.base import ToolResult
from mcp_types import ImageContent, ResourceLink, TextContent

from coatcheck import InvalidArtifactError, open_store
from coatcheck.integrations.fastmcp import CoatcheckMiddleware

from ...snippets import DOCS, run_snippets

LONG = "ü" * 3000
IMAGE = bytes(range(256)) * 20


def server_of(middleware: CoatcheckMiddleware) -> FastMCP:
    server = FastMCP("test", middleware=[middleware])

    @server.tool
    def text(length: int) -> str:
        return "ü" * length

    @server.tool
    def mixed() -> ToolResult:
        picture = ImageContent(type="image", data=base64.b64encode(IMAGE).decode(), mime_type="image/png")
        return ToolResult(content=[TextContent(type="text", text="small"), picture], meta={"kept": True})

    @server.tool
    def fails() -> str:
        raise ToolError("no " * 3000)

    @server.resource("plain://one")
    def one() -> str:
        return "of the server"

    return server


@pytest.fixture(params=["valkey", "valkey_cluster", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return request.getfixturevalue(request.param).url


def test_what_is_large_becomes_a_link_that_another_server_answers(url: str, namespace: str) -> None:
    async def use() -> None:
        made = [CoatcheckMiddleware(url, namespace=namespace, threshold=1000, ttl=60, preview=5) for _ in range(2)]
        async with Client(server_of(made[0])) as client, Client(server_of(made[1])) as elsewhere:
            result = await client.call_tool("text", {"length": 3000})
            [link] = result.content
            assert isinstance(link, ResourceLink)
            assert (link.name, link.mime_type, link.size) == ("text", "text/plain", 6000)
            assert link.description.endswith(f"begins:\n{'ü' * 5}")
            assert result.structured_content is None
            [whole] = await elsewhere.read_resource(link.uri)
            assert whole.text == LONG
            again = await client.call_tool("text", {"length": 3000})
            assert again.content[0].uri != link.uri
            small, picture = (await client.call_tool("mixed")).content
            assert small.text == "small"
            [image] = await client.read_resource(picture.uri)
            assert (base64.b64decode(image.blob), image.mime_type) == (IMAGE, "image/png")
            with open_store(url, namespace=namespace) as store:
                assert {view.tags["tool"] for view in store.list_by_run("fastmcp")} == {"text", "mixed"}
                assert all(view.expires_at for view in store.list_by_run("fastmcp"))
                assert store.delete_by_run("fastmcp") == 3
            with pytest.raises(McpError, match="not found"):
                await client.read_resource(link.uri)
        for one in made:
            await one.close()

    asyncio.run(use())


def test_what_is_small_or_failed_or_of_others_passes(valkey, namespace: str) -> None:
    async def use() -> None:
        ours = CoatcheckMiddleware(valkey.url, namespace=namespace, threshold=1000, tools=["fails", "text"])
        async with Client(server_of(ours)) as client:
            small = await client.call_tool("text", {"length": 499})
            assert (small.content[0].text, small.structured_content) == ("ü" * 499, {"result": "ü" * 499})
            assert isinstance((await client.call_tool("mixed")).content[1], ImageContent)
            with pytest.raises(ToolError, match="no no"):
                await client.call_tool("fails")
            [own] = await client.read_resource("plain://one")
            assert own.text == "of the server"
            schemas = {tool.name: tool.output_schema for tool in await client.list_tools()}
            assert schemas["text"] is None
        with open_store(valkey.url, namespace=namespace) as store:
            assert store.list_all() == []
            secret = store.store(b"of somebody else", artifact_id="other")
        async with Client(server_of(ours)) as client:
            for uri in (f"coatcheck://results/{secret.artifact_id}", "coatcheck://results/", "coatcheck://results/x/y"):
                with pytest.raises(McpError):
                    await client.read_resource(uri)
        await ours.close()

    asyncio.run(use())


@pytest.mark.parametrize("bad", [{"threshold": 0}, {"threshold": True}, {"preview": -1}, {"preview": "5"}])
def test_arguments_that_make_no_sense(bad: dict) -> None:
    with pytest.raises(InvalidArtifactError, match=next(iter(bad))):
        CoatcheckMiddleware(**bad)


def test_the_guide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COATCHECK_URL", f"file://{tmp_path}")
    run_snippets(DOCS / "integrations" / "fastmcp.md")
