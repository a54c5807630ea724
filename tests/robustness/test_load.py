"""Many visitors at once, a crowd at the door, and visitors who are slow or leave."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_server import Served, serving

from .files import encode, photo
from .load import CLIENTS, run
from .visitor import Answer, Visitor

pytestmark = [pytest.mark.robustness, pytest.mark.slow]
pytest_plugins = ["page_server"]

REQUESTS, SECONDS = 600, 150  # of the scaled load; `python -m tests.robustness.load` has no limit of time
PNG = encode(photo(), "PNG")


@pytest.fixture
def fresh(tmp_path: Path) -> Any:
    """A server that no other test has used."""
    with serving(tmp_path / "server") as served:
        yield served


def test_fifty_clients(fresh: Served, record_property: Any) -> None:
    report = run(fresh.url, fresh.process.pid, fresh.folder, REQUESTS, CLIENTS, SECONDS)
    print(report)
    assert report.requests == sum(report.outcomes.values()) > CLIENTS
    assert report.lost == report.mixed == 0, report.problems
    assert report.memory_end - report.memory_warm < 50
    assert report.files < 4000
    assert not fresh.went_out()
    assert '"level": "error"' not in fresh.log.read_text() and "Traceback" not in fresh.log.read_text()


def test_a_crowd_is_told_that_the_page_is_busy(fresh: Served) -> None:
    """Each from an address of its own, none waits for its answer: the queue takes 100."""
    visitors = [Visitor(fresh.url, f"10.1.{number // 200}.{number % 200}") for number in range(130)]
    file = visitors[0].upload(encode(photo().resize((3000, 2000)), "PNG"))
    answers: list[str | Answer] = []
    threads = [
        threading.Thread(target=lambda each=each: answers.append(each.begin("segment", "water", file, [], None)))
        for each in visitors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy = [answer for answer in answers if isinstance(answer, Answer)]
    assert len(answers) == 130 and 0 < len(busy) < 50
    assert all(answer.outcome == "busy" and "Queue is full" in answer.message for answer in busy)


def test_one_visitor_cannot_take_all(fresh: Served) -> None:
    """Who asks without end is told to wait; others are answered meanwhile."""
    greedy = Visitor(fresh.url, "10.2.0.1")
    answers = [greedy.begin("segment", "dogs", None, [], None) for _ in range(500)]
    refused = [answer for answer in answers if isinstance(answer, Answer)]
    assert refused and all("wait" in answer.message or "full" in answer.message for answer in refused)
    time.sleep(5)  # what the greedy one did get in is soon refused
    other = Visitor(fresh.url, "10.2.0.2")
    assert other.call("segment", "pets", other.upload(PNG), [], None).outcome == "done"


def test_slow_visitors_keep_nobody_waiting(fresh: Served) -> None:
    """Some send their upload byte by byte, some never read what they asked for, some leave in the middle."""
    place = (urlsplit(fresh.url).hostname, urlsplit(fresh.url).port)
    slow = [socket.create_connection(place) for _ in range(40)]
    for number, connection in enumerate(slow):
        if number % 2:
            connection.sendall(b"GET /gradio_api/heartbeat/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        else:
            connection.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disp"
            )
    leaving = Visitor(fresh.url, "10.3.0.1")
    file = leaving.upload(PNG)
    for _ in range(10):
        event = leaving.begin("segment", "pets", file, [], None)
        with leaving.http.stream("GET", f"/gradio_api/call/segment/{event}"):
            pass  # and away
    other = Visitor(fresh.url, "10.3.0.2")
    for _ in range(5):
        assert other.call("segment", "pets", other.upload(PNG), [], None).outcome == "done"
    for connection in slow:
        connection.close()
    assert other.call("segment", "pets", other.upload(PNG), [], None).outcome == "done"


def test_a_large_picture_keeps_no_small_one_waiting(fresh: Served) -> None:
    first, second = Visitor(fresh.url, "10.4.0.1"), Visitor(fresh.url, "10.4.0.2")
    large = first.upload(encode(photo().resize((5000, 4000)), "PNG"))
    small = second.upload(PNG)
    event = first.begin("segment", "nuclei", large, [], None)
    assert second.call("segment", "pets", small, [], None).outcome == "done"
    assert '"task": "nuclei"' not in fresh.log.read_text()
    with first.http.stream("GET", f"/gradio_api/call/segment/{event}") as reply:
        assert "event: complete" in reply.iter_lines()


def test_a_batch_that_nobody_waits_for_frees_its_work(fresh: Served) -> None:
    """The stream is closed after a moment: the batch ends early, and leaves no file."""
    visitor = Visitor(fresh.url)
    file = visitor.upload(encode(photo().resize((800, 600)), "PNG"))
    event = visitor.begin("segment_batch", "water", [file] * 1000)
    with visitor.http.stream("GET", f"/gradio_api/call/segment_batch/{event}"):
        wait_until(lambda: list(fresh.folder.rglob("*.part")))
    wait_until(lambda: not list(fresh.folder.rglob("*.part")))
    wait_until(lambda: "segment_batch" in fresh.log.read_text())
    lines = [json.loads(line) for line in fresh.log.read_text().splitlines() if line.startswith("{")]
    (told,) = [line for line in lines if line["action"] == "segment_batch"]
    assert told["outcome"] == "cancelled" and told["pictures"] == 1000
    assert not list(fresh.folder.rglob("segmented-*"))


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
