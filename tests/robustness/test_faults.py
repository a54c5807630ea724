"""The server and the command line, killed in the middle of a batch, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from page_server import ROOT, serving
from PIL import Image

from .files import encode, photo
from .test_load import wait_until
from .visitor import Visitor

pytestmark = [pytest.mark.robustness, pytest.mark.slow]

LARGE = encode(photo().resize((800, 600)), "PNG")


def test_a_killed_server_leaves_nothing_half(tmp_path: Path) -> None:
    """The batch under way is not there as a file, and the next server removes what the killed one wrote."""
    folder = tmp_path / "server"
    with serving(folder) as served:
        visitor = Visitor(served.url)
        file = visitor.upload(LARGE)
        visitor.begin("segment_batch", "water", [file] * 1000)
        wait_until(lambda: any(path.stat().st_size for path in folder.rglob("*.part")))
        served.process.send_signal(signal.SIGKILL)
        served.process.wait(30)
        assert not list(folder.rglob("segmented-*.zip"))
        left = files(folder)
    with serving(folder) as served:
        assert left and not left & files(folder) and not list(folder.rglob("*.part"))
        visitor = Visitor(served.url)
        answer = visitor.call("segment_batch", "water", [visitor.upload(LARGE)])
        (tmp_path / "whole.zip").write_bytes(visitor.fetch(answer.data[0]))
    with zipfile.ZipFile(tmp_path / "whole.zip") as archive:
        assert archive.testzip() is None and len(archive.namelist()) == 3
    assert not files(folder)  # ended by SIGTERM it leaves nothing at all


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_killed_command_line_goes_on(tmp_path: Path) -> None:
    """Every file under its own name is whole at any moment; the same command does the rest."""
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    for number in range(30):
        (pictures / f"{number}.png").write_bytes(LARGE)
    command = [sys.executable, "-m", "segmenter", "predict", "pets", str(pictures), "--out", str(out)]
    for _ in range(3):
        before = len(list(out.glob("*.png")))
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda before=before: len(list(out.glob("*.png"))) > before)
            process.kill()
        for path in out.glob("*.png"):
            with Image.open(path) as image:
                image.load()
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert len(list(out.glob("*-mask.png"))) == len(list(out.glob("*-overlay.png"))) == 30
    assert not list(out.glob(".*.part"))


@pytest.mark.skipif(sys.platform != "linux", reason="only there 127.0.0.2 is the machine itself")
def test_all_interfaces_are_listened_to_when_asked(tmp_path: Path) -> None:
    for number, environment in enumerate(({"GRADIO_SERVER_NAME": "0.0.0.0"}, {"SPACE_ID": "someone/page"})):
        with serving(tmp_path / str(number), **environment) as served, socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.2", urlsplit(served.url).port or 0)) == 0
    assert "GRADIO_SERVER_NAME" not in os.environ
