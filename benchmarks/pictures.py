"""Pictures to measure with: those of the datasets where they are given, else smooth noise with edges."""

from __future__ import annotations

import importlib
import io

import numpy as np
from PIL import Image

from segmenter.tasks import TASKS


def generated(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image (height, width, 3) uint8: soft colours, a bright shape, and grain, about as hard as a photo."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 200, (8, 12, 3), np.uint8))
    image = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    y, x = np.mgrid[:height, :width]
    inside = ((y / height - 0.5) ** 2 + (x / width - rng.uniform(0.3, 0.7)) ** 2) < 0.05
    image[inside] += 50
    image += rng.integers(-8, 9, image.shape, np.int16)
    return image.clip(0, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    """The bytes of an image as a JPEG of quality 90."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_pictures(task: str, data: str | None, count: int) -> list[np.ndarray]:
    """``count`` test pictures of a task, spread over the split; generated ones without ``data``."""
    if data is None:
        return [generated(*((375, 500) if TASKS[task].input_policy == "fit" else (256, 256)), n) for n in range(count)]
    from train.data import data_root, spread

    training = importlib.import_module(f"train.{task}").TRAINING
    examples = training.examples(data_root(data), "test", training.recipes["default"])
    return [example.read()[0] for example in spread(examples, count)]
