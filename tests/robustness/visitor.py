"""A visitor that speaks to the running page in plain HTTP, as any program might."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import httpx

API = "/gradio_api"


@dataclass(frozen=True)
class Answer:
    """What came of a call: its outputs, or the sentence that refused it; ``busy`` is a sentence too."""

    outcome: Literal["done", "refused", "busy"]
    data: Any = None
    message: str = ""


class Visitor:
    """``address`` is where the visitor seems to come from; the server believes proxies on its own machine."""

    def __init__(self, url: str, address: str = "127.0.0.1") -> None:
        self.http = httpx.Client(
            base_url=url, headers={"X-Forwarded-For": address}, timeout=300, trust_env=False, follow_redirects=False
        )

    def upload(self, data: bytes, name: str = "picture.png") -> dict[str, Any] | Answer:
        """Gradio's record of an uploaded file, or the answer that refused it."""
        reply = self.http.post(f"{API}/upload", files={"files": (name, data)})
        return _file(reply.json()[0], name) if reply.is_success else _refusal(reply)

    def begin(self, endpoint: str, *data: Any) -> str | Answer:
        """Ask, without waiting for the result: the event's id, or the answer that refused it."""
        reply = self.http.post(f"{API}/call/{endpoint}", json={"data": data})
        return reply.json()["event_id"] if reply.is_success else _refusal(reply)

    def call(self, endpoint: str, *data: Any) -> Answer:
        """Ask, and wait for the result."""
        event = self.begin(endpoint, *data)
        if isinstance(event, Answer):
            return event
        kind = ""
        with self.http.stream("GET", f"{API}/call/{endpoint}/{event}") as reply:
            for line in reply.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    found = json.loads(line.removeprefix("data: "))
                    if kind == "complete":
                        return Answer("done", found)
                    return Answer("refused", message=str((found or {}).get("error")))
        raise AssertionError("the server closed the stream without an answer")

    def fetch(self, file: dict[str, Any]) -> bytes:
        """A file of a result."""
        return self.http.get(f"{API}/file={file['path']}").raise_for_status().content


def _file(path: str, name: str) -> dict[str, Any]:
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def _refusal(reply: httpx.Response) -> Answer:
    assert reply.status_code < 500 or reply.status_code == 503, f"{reply.status_code}: {reply.text}"
    found = reply.json() if reply.headers.get("content-type", "").startswith("application/json") else reply.text
    message = str(found["detail"] if isinstance(found, dict) else found)
    return Answer("busy" if reply.status_code in (429, 503) else "refused", message=message)
