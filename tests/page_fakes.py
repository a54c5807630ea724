"""What the tests of the page share: fake models, bad files, and pictures whose answers are known."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from page import api, batch, handlers, models, models_tab, view
from page.desk import Desk
from segmenter import TASKS, Segmentation
from segmenter.image import MAX_PIXELS, read_image


class FakeSegmenter:
    """Finds class 1 in the picture's upper quarter, sure to 0.75 there and to 0.5 elsewhere; counts its calls."""

    max_pixels = MAX_PIXELS

    def __init__(self, task: str) -> None:
        self.task, self.calls = TASKS[task], 0

    def predict(self, source: Any, stop: Any = None) -> Segmentation:
        self.calls += 1
        image = read_image(source)
        class_ids = np.zeros(image.shape[:2], np.uint8)
        class_ids[: image.shape[0] // 4] = 1
        confidence = np.where(class_ids == 1, 0.75, 0.5).astype(np.float32)
        return Segmentation(image, class_ids, confidence, self.task)


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, FakeSegmenter]:
    """Fake models in the place of the real ones, and Gradio's files in the test's folder."""
    segmenters = {task: FakeSegmenter(task) for task in TASKS}
    for module in (api, batch, models, models_tab, view):
        monkeypatch.setattr(module, "segmenter_for", segmenters.__getitem__)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return segmenters


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A grey picture of 40 rows and 60 columns."""
    path = tmp_path / "grey.png"
    Image.new("RGB", (60, 40), (100, 100, 100)).save(path)
    return path


@pytest.fixture
def page(fakes: dict[str, FakeSegmenter], picture: Path) -> Callable[..., handlers.Page]:
    """The page after the grey picture came, for a task."""
    return lambda task="cars", *looks: handlers.on_upload(given(picture), task, Desk(), *(looks or LOOKS))


LOOKS = ("Overlay", "Fill", 50, ["car"], "car")


def given(path: Path) -> dict[str, Any]:
    """Gradio's record of an upload."""
    return {"path": str(path), "orig_name": path.name}


def _huge_png() -> bytes:
    """A PNG of a few bytes whose header claims 81 megapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def _cut_jpeg(folder: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = folder / "whole.jpg"
    Image.fromarray(noise).save(path)
    return path.read_bytes()[:900]


BAD_FILES: list[tuple[str, Callable[[Path], bytes], str]] = [
    ("empty.jpg", lambda folder: b"", "'empty.jpg' is an empty file"),
    ("holiday.jpg", lambda folder: b"Dear diary", "'holiday.jpg' is not a picture"),
    ("cut.jpg", _cut_jpeg, "'cut.jpg' is damaged or incomplete"),
    ("huge.png", lambda folder: _huge_png(), "81 megapixels; the limit is 50"),
]
