"""What stands between the page and the internet, as plain functions: the guard, the log, the folder, the health."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio.utils import get_upload_folder
from page_fakes import FakeSegmenter, given
from starlette.requests import Request
from starlette.responses import PlainTextResponse

import app
from page import api, batch_tab, guard, handlers, health, log, workspace
from page.desk import Desk
from segmenter import TASKS, Stopped

pytest_plugins = ["page_fakes"]

# ---------------------------------------------------------------- the guard


def run(coroutine):
    """Its result, from a thread of its own: a browser test before may have left an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was sent; fail where that is "fail"."""
    body = await Request(scope, receive).body()
    if body == b"fail":
        raise RuntimeError("SECRET")
    await PlainTextResponse(body)(scope, receive, send)


def ask(method: str, path: str, app: Any = None, **options: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app or guard.Guard(echo))
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            return await client.request(method, path, **options)

    return run(once())


def test_a_call_goes_through_unchanged() -> None:
    upload = json.dumps({"data": ["pets", {"path": f"{get_upload_folder()}/a/b.png", "url": "http://page/a"}]})
    for body in (upload.encode(), b"no JSON", b""):
        reply = ask("POST", "/gradio_api/call/segment", content=body)
        assert (reply.status_code, reply.content) == (200, body)
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_one_visitor_leaves_places_for_others() -> None:
    """Gradio's queue has no places of one's own: who fills it makes it busy for all."""
    waiting = [{"client": ("1.1.1.1", 1), "type": "http", "headers": []}] * guard.MOST_WAITING

    def ask_from(address: str) -> int:
        async def once() -> int:
            app = guard.Guard(echo, waiting=lambda: waiting)
            transport = httpx.ASGITransport(app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
                return (await client.post("/gradio_api/queue/join", json={})).status_code

        return run(once())

    assert (ask_from("1.1.1.1"), ask_from("2.2.2.2")) == (429, 200)
    waiting.pop()
    assert ask_from("1.1.1.1") == 200
    assert guard.MOST_WAITING < app.QUEUE and app.waiting() == []


def test_a_bug_is_not_told_as_a_mistake_of_the_visitor(
    fakes: dict[str, FakeSegmenter], picture: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def bug(source: object, stop: object) -> None:
        raise ValueError("tuple.index(x): x not in tuple")

    fakes["cars"].predict = bug  # type: ignore[method-assign]
    file = given(picture)
    for call in (api.segment, lambda task, file: api.score(task, file, file)):
        with pytest.raises(gr.Error, match="Something went wrong on the server"):
            call("cars", file)
    assert "tuple.index" in caplog.text


OTHERS = [{"path": "/a"}, {"path": "/a", "meta": {"_type": "gradio.FileData"}}, {"deep": [{"path": "a"}]}]


@pytest.mark.parametrize("file", OTHERS)
def test_a_path_of_ones_own_is_refused(file: Any) -> None:
    """With Gradio's mark of a file, and without, which it does not ask for everywhere."""
    reply = ask("POST", "/gradio_api/queue/join", json={"data": [file], "fn_index": 0})
    assert reply.status_code == 403 and reply.json() == {"detail": guard.NO_FILE}


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000])
def test_what_is_too_deep_to_be_checked_is_refused(body: bytes) -> None:
    assert ask("POST", "/gradio_api/queue/join", content=body).status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        ["http://a"],
        {"path": "HTTPS://a"},
        {"deep": [{"path": " http://a"}]},
        {"url": {"path": "http://a"}},
        {"url": ["http://a"]},
    ],
)
@pytest.mark.parametrize("path", ["queue/join", "call/segment", "run/segment", "mcp/"])
def test_a_web_address_is_refused(path: str, data: Any) -> None:
    reply = ask("POST", f"/gradio_api/{path}", json={"data": data})
    assert (reply.status_code, reply.json()) == (400, {"detail": guard.NO_ADDRESS})


def test_a_body_without_a_length_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def parts() -> Any:
        for _ in range(10):
            yield b"12345678"

    for limit, path in (("MAX_BODY", "call/segment"), ("MAX_UPLOAD", "upload")):
        monkeypatch.setattr(guard, limit, 40)
        assert ask("POST", f"/gradio_api/{path}", content=parts()).status_code == 413
        monkeypatch.setattr(guard, limit, 80)
        assert ask("POST", f"/gradio_api/{path}", content=parts()).content == b"12345678" * 10


def test_an_error_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    reply = ask("POST", "/gradio_api/cancel", content=b"fail")
    (record,) = [record for record in caplog.records if record.name == log.LOG.name]
    line = json.loads(log.Lines().format(record))
    assert reply.status_code == 500 and reply.json() == {"detail": log.FAULT.format(line["request"])}
    assert line["traceback"][0] == "RuntimeError" and any("echo" in frame for frame in line["traceback"])
    assert "SECRET" not in json.dumps(line) + reply.text and line["action"] == "/gradio_api/cancel"


def test_a_visitor_who_asks_too_often_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    app = guard.Guard(echo, guard.Buckets(burst=3, per_second=0.5))
    asked = [ask("POST", "/gradio_api/call/a", app).status_code for _ in range(4)]
    assert asked == [200, 200, 200, 429]
    assert ask("GET", "/gradio_api/info", app).status_code == 200  # looking costs nothing
    now[0] += 2
    assert [ask("POST", "/gradio_api/upload", app).status_code for _ in range(2)] == [200, 429]


def test_the_visitors_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_VISITORS", 5)
    buckets = guard.Buckets(burst=1, per_second=0)
    assert all(buckets.take(str(number)) for number in range(50)) and len(buckets._left) == 5
    assert not buckets.take("49")


@pytest.mark.parametrize(
    ("space", "forwarded", "found"),
    [
        (False, "8.8.8.8", "10.1.1.1"),
        (True, "8.8.8.8", "8.8.8.8"),
        (True, "1.1.1.1, 8.8.8.8, 10.0.0.7", "8.8.8.8"),  # the first is what a visitor wrote
        (True, "nonsense", "10.1.1.1"),
        (True, "", "10.1.1.1"),
    ],
)
def test_who_a_visitor_is(monkeypatch: pytest.MonkeyPatch, space: bool, forwarded: str, found: str) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    if space:
        monkeypatch.setenv("SPACE_ID", "someone/page")
    scope = {"client": ("10.1.1.1", 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    assert guard.visitor(scope) == found


def test_a_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    run(guard.Guard(echo)({"type": "websocket", "path": "/"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


# ---------------------------------------------------------------- the log


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What was logged so far, as its JSON."""
    caplog.set_level(logging.INFO, log.LOG.name)
    yield lambda: [json.loads(log.Lines().format(record)) for record in caplog.records if record.name == log.LOG.name]


def test_a_request_is_a_line(fakes: dict[str, FakeSegmenter], picture: Path, lines: Any) -> None:
    api.segment("pets", given(picture))
    (line,) = lines()
    assert line.pop("milliseconds") >= 0 and len(line.pop("request")) == 12 and line.pop("time").endswith("Z")
    expected = {"level": "info", "message": "request", "action": "segment", "outcome": "done"}
    assert line == {**expected, "task": "pets", "size": [40, 60]}


def test_a_refusal_is_a_line(fakes: dict[str, FakeSegmenter], tmp_path: Path, lines: Any) -> None:
    bad = given(tmp_path / "gone.png")
    handlers.on_upload(bad, "pets", Desk(), "Overlay", "Fill", 50, [], "pet")
    with pytest.raises(gr.Error):
        api.segment("pets", bad)
    assert [(line["action"], line["outcome"], line["level"]) for line in lines()] == [
        ("predict", "refused", "info"),
        ("segment", "refused", "info"),
    ]
    assert "gone" not in json.dumps(lines())


def test_a_picture_that_nobody_waits_for_is_cancelled(
    fakes: dict[str, FakeSegmenter], monkeypatch: pytest.MonkeyPatch, picture: Path, lines: Any
) -> None:
    def stopped(source: object, stop: object) -> None:
        raise Stopped("nobody waits.")

    monkeypatch.setattr(fakes["pets"], "predict", stopped)
    with pytest.raises(gr.Error) as caught:
        api.segment("pets", given(picture))
    assert not caught.value.print_exception and [line["outcome"] for line in lines()] == ["cancelled"]


def test_a_fault_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch, picture: Path, lines: Any) -> None:
    def broken(task: str) -> None:
        raise RuntimeError("SECRET")

    monkeypatch.setattr(api, "segmenter_for", broken)
    with pytest.raises(gr.Error) as caught:
        api.segment("pets", given(picture))
    (line,) = lines()
    assert caught.value.message == log.FAULT.format(line["request"]) and not caught.value.print_exception
    assert line["level"] == "error" and line["outcome"] == "failed" and "SECRET" not in json.dumps(line)
    assert line["traceback"][0] == "RuntimeError" and any("broken" in frame for frame in line["traceback"])


def test_a_batch_that_nobody_waits_for_ends(fakes: dict[str, FakeSegmenter], picture: Path, lines: Any) -> None:
    steps = batch_tab.on_start("cars", [given(picture)] * 50, threading.Event())
    next(steps), next(steps)
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    assert list(folder.rglob("*.part"))
    steps.close()
    assert fakes["cars"].calls < 50 and not [path for path in folder.rglob("*") if path.is_file()]
    assert lines()[-1]["outcome"] == "cancelled" and lines()[-1]["pictures"] == 50


def test_the_endpoints_keep_their_documentation() -> None:
    assert api.segment.__doc__.startswith("Segment one picture") and api.segment.__name__ == "segment"


# ---------------------------------------------------------------- the folder


def test_a_sweep_takes_the_old_and_the_too_many(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_bytes(bytes(100))
        time.sleep(0.02)  # the clock of files goes in steps
    workspace.sweep(tmp_path, keep_seconds=100, most_bytes=250)
    assert [path.parent.name for path in sorted(tmp_path.rglob("file"))] == ["2", "3"]
    assert len(list(tmp_path.iterdir())) == 4  # a folder is new, and may be about to be filled
    workspace.sweep(tmp_path, keep_seconds=-1)
    assert not list(tmp_path.iterdir())


def test_what_waits_is_kept_and_a_sweep_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Files that events in the queue name are new again each time."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for name in ("waits", "old"):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    data = {"data": ["pets", [{"path": str(tmp_path / "waits")}, {"path": None}, "text"], None]}
    event = SimpleNamespace(data=SimpleNamespace(**data), request=SimpleNamespace(scope={}))
    monkeypatch.setattr(app, "queued", lambda: [event, SimpleNamespace(data=None, request=event.request)])
    rounds: list[float] = []

    def sleep(seconds: float) -> None:
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    def sweep(folder: Path) -> None:
        assert folder == tmp_path and (folder / "waits").stat().st_mtime > 0 == (folder / "old").stat().st_mtime
        raise RuntimeError("a folder went meanwhile")

    monkeypatch.setattr(workspace.time, "sleep", sleep)
    monkeypatch.setattr(workspace, "sweep", sweep)
    with pytest.raises(KeyboardInterrupt):
        workspace.keep_clean(app.needed)
    assert len(rounds) == 3


def test_the_folder_of_a_killed_process_goes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    dead, alive, other = (f"segmenter-{pid}-x" for pid in (child.pid, os.getppid(), "examples"))
    for name in (dead, alive, other):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_bytes(b"x")
    mine = workspace.begin()
    assert {path.name for path in tmp_path.iterdir()} == {alive, other, mine.name}
    assert tempfile.gettempdir() == str(mine) and mine.stat().st_mode & 0o777 == 0o700


# ---------------------------------------------------------------- health


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks whose models were asked, none of them before; that of cars is broken."""
    found: list[str] = []

    def load(task: str) -> FakeSegmenter:
        found.append(task)
        if task == "cars":
            raise RuntimeError("broken")
        return FakeSegmenter(task)

    monkeypatch.setattr(health, "segmenter_for", load)
    monkeypatch.setattr(health, "_known", None)
    return found


def test_health_names_the_model_that_is_ill(asked: list[str]) -> None:
    reply = health.health(None)
    assert reply.status_code == 503
    tasks = {task: task != "cars" for task in TASKS}
    assert json.loads(reply.body) == {"status": "degraded", "tasks": tasks}


def test_health_is_asked_once_a_minute(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: now[0])
    for _ in range(20):
        health.check()
    assert len(asked) == len(TASKS)
    now[0] += health.FRESH_SECONDS + 1
    health.check()
    assert len(asked) == 2 * len(TASKS)


def test_health_waits_for_nobody(asked: list[str]) -> None:
    with health._checking:
        reply = health.health(None)
    assert (reply.status_code, json.loads(reply.body)["status"]) == (503, "starting") and not asked
