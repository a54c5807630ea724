"""The endpoints as tools of the Model Context Protocol, called by its own client."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from page_server import Served, sample

from page.examples import lakes_truth

pytest.importorskip("mcp", reason='tools need pip install "gradio[mcp]"')
pytest_plugins = ["page_server"]


def call(server: str, name: str | None = None, **arguments: Any) -> Any:
    """A tool's answer, or the tools where none is named."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    async def talk() -> Any:
        async with (
            streamablehttp_client(f"{server}/gradio_api/mcp/") as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return await (session.call_tool(name, arguments) if name else session.list_tools())

    with ThreadPoolExecutor() as other:  # Playwright leaves a loop running in this thread
        return other.submit(lambda: asyncio.run(talk())).result()


def data_address(path: str | Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"


def texts(answer: Any) -> str:
    return " ".join(content.text for content in answer.content if content.type == "text")


def test_the_tools_say_what_they_take(server: str) -> None:
    tools = {tool.name: tool for tool in call(server).tools}
    assert set(tools) == {"segment", "segment_batch", "score", "suggest"}
    assert set(tools["segment"].inputSchema["properties"]) == {"task", "picture", "formats", "pixel_size"}
    pictures = tools["segment_batch"].inputSchema["properties"]["pictures"]
    assert pictures["type"] == "array" and pictures["items"]["type"] == "string"
    assert "$ref" not in json.dumps(tools["segment_batch"].inputSchema)


def test_a_picture_is_segmented(server: str) -> None:
    answer = call(server, "segment", task="pets", picture=data_address(sample("pets")))
    assert not answer.isError and "The pet fills" in texts(answer)


def test_what_comes_as_data_goes_where_it_is_swept(served: Served) -> None:
    call(served.url, "suggest", picture=data_address(sample("pets")))
    assert all(path.name.startswith("segmenter-") for path in served.folder.iterdir())


def test_pictures_are_segmented_together(server: str) -> None:
    pictures = [data_address(sample("water")), "data:image/png;base64,RGVhciBkaWFyeQ=="]
    answer = call(server, "segment_batch", task="water", pictures=pictures)
    assert not answer.isError and "segmented-water.zip" in texts(answer)
    assert "Water covers" in texts(answer) and "is not a picture" in texts(answer)


def test_a_picture_is_scored_and_judged(server: str, tmp_path: Path) -> None:
    drawn, truth = map(data_address, lakes_truth(tmp_path))
    assert "mean_iou" in texts(call(server, "score", task="water", picture=drawn, true_mask=truth))
    assert "familiarity" in texts(call(server, "suggest", picture=drawn))


@pytest.mark.parametrize(
    ("pictures", "said"),
    [(["/etc/passwd"], "Picture 1 is no file"), (["data:image/png;base64,A"], "Picture 1 is a broken data: address")],
)
def test_what_is_no_picture_is_refused(server: str, pictures: list[str], said: str) -> None:
    answer = call(server, "segment_batch", task="water", pictures=pictures)
    assert answer.isError and said in texts(answer)
