"""The pictures of a view: ways of looking at one result, and where their files go."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from page.view import View
from segmenter.draw import mask_picture, outlines, overlay
from segmenter.export import class_image

# Name on the page -> what is seen.
MODES = ("Overlay", "Compare", "Confidence", "Mask", "One class")
STYLES = ("Fill", "Outline")
OUTLINE_SHARE = 1 / 500  # of the longer side: two pixels where a picture is shown 1,000 pixels wide

# Viridis (van der Walt & Smith, 2015) at nine even steps: even in lightness, for every colour vision.
VIRIDIS = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
    (170, 220, 50), (253, 231, 37),
)  # fmt: skip


class Look(NamedTuple):
    """How a result is looked at: one of MODES, one of STYLES, ``opacity`` in percent, the ``classes`` to show, and
    the ``one`` class that stands alone in black and white."""

    mode: str = MODES[0]
    style: str = STYLES[0]
    opacity: float = 50
    classes: Sequence[str] = ()
    one: str | None = None

    @property
    def suffix(self) -> str:
        """That of the picture's file: what has few colours keeps them."""
        return "png" if self.mode in ("Mask", "One class") else "jpg"


def draw(view: View, look: Look) -> np.ndarray:
    """The picture that a look asks for, RGB uint8 (H, W, 3) at display size; of Compare its right half."""
    if look.mode == "Confidence":
        return heat(view.shown.confidence, lowest(view))
    if look.mode == "Mask":
        return mask_picture(view.shown, look.classes)
    if look.mode == "One class":
        name = look.one if look.one in view.shown.task.class_names else view.shown.task.class_names[1]
        return np.asarray(class_image(view.shown, str(name)).convert("RGB"))
    if look.style == "Outline":
        return outlined(view, look.classes)
    return overlay(view.shown, look.opacity / 100, look.classes)


def outlined(view: View, classes: Collection[str]) -> np.ndarray:
    """The picture with the edges of the classes, or of single objects, in their colours: RGB uint8 (H, W, 3)."""
    from scipy.ndimage import binary_dilation

    shown = view.shown
    edges = outlines(shown.class_ids if view.labels is None else view.labels)
    drawn = shown.image.copy()
    rounds = round(max(edges.shape) * OUTLINE_SHARE)
    for class_id, info in enumerate(shown.task.classes):
        if class_id and info.name in classes:
            line = edges & (shown.class_ids == class_id)
            drawn[binary_dilation(line, iterations=rounds) if rounds else line] = info.color
    return drawn


def lowest(view: View) -> float:
    """The least confidence that a chosen class can have: that of all being even."""
    return 1 / len(view.shown.task.classes)


def heat(confidence: np.ndarray, low: float) -> np.ndarray:
    """Confidence (H, W) from ``low`` (dark) to 1 (bright) in the colours of viridis: RGB uint8 (H, W, 3)."""
    steps = np.linspace(0, 255, len(VIRIDIS))
    table = np.stack([np.interp(np.arange(256), steps, channel) for channel in np.transpose(VIRIDIS)], axis=1)
    share = ((confidence - low) / (1 - low)).clip(0, 1)
    drawn: np.ndarray = table.round().astype(np.uint8)[(share * 255).round().astype(np.uint8)]
    return drawn


def folder() -> Path:
    """A new folder in Gradio's cache, whence files are served as they are and deleted in time."""
    cache = Path(get_upload_folder())
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=cache))


def save(image: Image.Image | np.ndarray, name: str) -> str:
    """Write a picture into Gradio's cache; returns its path."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    path = folder() / name
    if path.suffix == ".jpg":
        # Full colour resolution: outlines one pixel wide keep their colour.
        image.save(path, quality=90, subsampling=0)
    else:
        image.save(path)
    return str(path)


def data_uri(image: Image.Image, quality: int = 85) -> str:
    """A small picture (mode RGB) as a JPEG inside an address."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
