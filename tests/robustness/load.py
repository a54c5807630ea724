"""Many visitors at once against the real server process.

    python -m tests.robustness.load --requests 2000

starts ``python app.py``, asks it from 50 clients, and prints what came of it. Every client has pictures of its own,
whose masks are known from a prediction in this process; 5 of 100 requests are bad.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from segmenter import TASKS, Segmenter
from tests.page_server import serving

from .files import encode
from .visitor import Answer, Visitor

CLIENTS = 50
BAD, MANY, OTHER = 0.05, 0.05, 0.05  # shares of the requests: bad ones, batches, suggestions
WARM = 200  # requests after which the memory may hardly grow


@dataclass
class Report:
    """What came of a run: counts of answers by outcome, ``mixed`` up results and requests ``lost`` without an answer,
    seconds, and the server's memory and files in MB. ``problems`` name what is wrong."""

    clients: int
    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    lost: int = 0
    mixed: int = 0
    seconds: float = 0.0
    per_second: float = 0.0
    median: float = 0.0
    p95: float = 0.0
    memory_warm: float = 0.0
    memory_end: float = 0.0
    files: float = 0.0
    problems: list[str] = field(default_factory=list)


def picture(client: int, number: int) -> np.ndarray:
    """A picture (H, W, 3) that no other client has: soft blobs, and a size of its own."""
    random = np.random.default_rng((client, number))
    coarse = random.integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((80 + client, 60 + number), Image.Resampling.BICUBIC))


class Client:
    """One visitor: what it asks is drawn by its number, and what must come is known."""

    def __init__(self, url: str, number: int, segmenters: dict[str, Segmenter]) -> None:
        self.visitor = Visitor(url, f"10.0.{number // 250}.{number % 250 + 1}")
        self.random = np.random.default_rng(number)
        self.task = list(TASKS)[number % len(TASKS)]
        images = [picture(number, each) for each in range(3)]
        self.files = [encode(image, "PNG") for image in images]
        self.masks = [segmenters[self.task].predict(image).class_ids for image in images]

    def ask(self) -> tuple[str, bool]:
        """One request; its outcome, and whether what came is right."""
        kind, which = self.random.random(), int(self.random.integers(len(self.files)))
        if kind < BAD:
            return self._bad()
        file = self.visitor.upload(self.files[which])
        if isinstance(file, Answer):
            return file.outcome, bool(file.message)
        if kind < BAD + MANY:
            answer = self.visitor.call("segment_batch", self.task, [file, file])
            return answer.outcome, self._is_batch(answer, which)
        if kind < BAD + MANY + OTHER:
            answer = self.visitor.call("suggest", file)
            return answer.outcome, answer.outcome != "done" or "familiarity" in answer.data[0]
        answer = self.visitor.call("segment", self.task, file, [], None)
        return answer.outcome, answer.outcome != "done" or self._is_mask(self.visitor.fetch(answer.data[1]), which)

    def _bad(self) -> tuple[str, bool]:
        """What cannot be done is refused, and said."""
        which = self.random.integers(4)
        if which == 0:
            answer = self.visitor.call("segment", "dogs", None, [], None)
        elif which == 1:
            answer = self.visitor.call("segment", self.task, {"path": "http://127.0.0.1/"}, [], None)
        elif which == 2:
            answer = self.visitor.call("segment", self.task, None, ["psd"], None)
        else:
            file = self.visitor.upload(self.files[0][: -len(self.files[0]) // 2], "cut.png")
            answer = file if isinstance(file, Answer) else self.visitor.call("segment", self.task, file, [], None)
        return answer.outcome, answer.outcome != "done" and answer.message.endswith(".")

    def _is_batch(self, answer: Answer, which: int) -> bool:
        if answer.outcome != "done":
            return True
        with zipfile.ZipFile(io.BytesIO(self.visitor.fetch(answer.data[0]))) as archive:
            masks = [name for name in archive.namelist() if name.endswith("-mask.png")]
            return len(masks) == 2 and all(self._is_mask(archive.read(name), which) for name in masks)

    def _is_mask(self, data: bytes, which: int) -> bool:
        return bool(np.array_equal(np.asarray(Image.open(io.BytesIO(data))), self.masks[which]))


def memory(pid: int) -> float:
    """MB that a process holds; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1000


def run(url: str, pid: int, folder: Path, requests: int, clients: int = CLIENTS, seconds: float = 3600) -> Report:
    """Ask so many times from all clients together, no longer than so many seconds."""
    segmenters = {task: Segmenter.load(task) for task in TASKS}
    everyone = [Client(url, number, segmenters) for number in range(clients)]
    report, outcomes, times = Report(clients), Counter[str](), list[float]()
    lock, started = threading.Lock(), time.perf_counter()

    def go_on() -> bool:
        with lock:
            if report.requests == min(WARM, requests // 2):
                report.memory_warm = memory(pid)
            if report.requests >= requests or time.perf_counter() - started > seconds:
                return False
            report.requests += 1
            return True

    def work(client: Client) -> None:
        while go_on():
            began = time.perf_counter()
            try:
                outcome, right = client.ask()
            except Exception as error:
                with lock:
                    report.lost += 1
                    report.problems.append(f"{type(error).__name__}: {error}")
                continue
            with lock:
                outcomes[outcome] += 1
                times.append(time.perf_counter() - began)
                report.mixed += not right
            if outcome == "busy":
                time.sleep(1)

    _all(work, everyone)
    report.seconds = time.perf_counter() - started
    report.outcomes = dict(outcomes)
    report.per_second = len(times) / report.seconds
    report.median, report.p95 = (float(each) for each in np.percentile(times, [50, 95]))
    report.memory_end = memory(pid)
    report.files = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return report


def _all(work: Callable[[Client], None], clients: list[Client]) -> None:
    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, serving(Path(name) / "server") as served:
        report = run(served.url, served.process.pid, served.folder, arguments.requests, arguments.clients)
        went_out = served.went_out()
    print(json.dumps({**asdict(report), "went_out": went_out}, indent=2))


if __name__ == "__main__":
    main()
