"""The server that the tests of its endpoints and of the browser share, and how to start others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from page.examples import examples

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Served:
    """A running ``python app.py``: its address, process, log, and the ``folder`` for its temporary files. Whatever it
    sends beyond this machine goes to ``beyond``, which takes connections and answers none."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    folder: Path
    beyond: socket.socket

    def went_out(self) -> bool:
        """Whether it tried to reach another machine."""
        self.beyond.setblocking(False)
        try:
            self.beyond.accept()
        except BlockingIOError:
            return False
        return True


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Served]:
    """``python app.py`` on a free port, its temporary files in a folder; it ends as by a supervisor, with SIGTERM."""
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as beyond:
        proxy = f"http://127.0.0.1:{beyond.getsockname()[1]}"
        variables = {
            **os.environ,
            "GRADIO_SERVER_PORT": str(port),
            "TMPDIR": str(folder),
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
            **environment,
        }
        log = folder.parent / f"{folder.name}-{port}.log"
        with log.open("w") as sink:
            process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=variables, stdout=sink, stderr=sink)
        try:
            _wait(process, port, log)
            yield Served(f"http://127.0.0.1:{port}", process, log, folder, beyond)
        finally:
            process.terminate()
            try:
                process.wait(30)
            finally:
                process.kill()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server listens."""
    for _ in range(480):
        if process.poll() is not None:
            pytest.fail(f"app.py ended: {log.read_text()}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    pytest.fail(f"app.py does not listen: {log.read_text()}")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server that tests share; nothing may have failed in it, nor left this machine."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running
        log, went_out = running.log.read_text(), running.went_out()
    assert not went_out
    assert "Traceback" not in log and '"level": "error"' not in log, log


@pytest.fixture(scope="session")
def server(served: Served) -> str:
    """Its address."""
    return served.url


def sample(task: str) -> str:
    """The path of the first example of a task."""
    return next(example.path for example in examples() if example.task == task)
