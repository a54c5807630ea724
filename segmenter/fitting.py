"""What training and prediction do alike to an image (H, W, 3) before the network sees it: contrast and size."""

from __future__ import annotations

import numpy as np
from PIL import Image

PAD_VALUE = 128  # zero after normalisation with mean 0.5
MOST_GAIN = 10  # beyond it the noise of an empty picture would look like something


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 with its values stretched to [0, 255], all channels alike so that hues stay.

    The darkest 0.1% become 0 and the brightest 0.05% become 255, much as microscopy has it (Schmidt et al., MICCAI
    2018), but no contrast grows more than tenfold.
    """
    counts = np.reshape(Image.fromarray(image).histogram(), (3, 256)).sum(0).cumsum()
    low, high = (int(np.searchsorted(counts, share * counts[-1])) for share in (0.001, 0.9995))
    gain = min(255 / max(high - low, 1), MOST_GAIN)
    table = ((np.arange(256) - low) * gain).clip(0, 255).round().astype(np.uint8)
    stretched: np.ndarray = table[image]
    return stretched


# A large photograph is first brought to at least so many times its size in the window by whole pixels' means, which is
# faster. On photographs of 1920 pixels masks are as right as with any larger number.
GAP = 1.4


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """(height, width) of a picture scaled so that its longer side is ``size``, each at least 1."""
    scale = size / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit(image: np.ndarray, size: int, multiple: int = 32) -> tuple[np.ndarray, tuple[int, int]]:
    """Scale an RGB uint8 image to ``size`` on its longer side and pad its sides to multiples of ``multiple``.

    Returns the uint8 window (h, w, 3), the picture in its top left corner, and the (height, width) that
    the picture takes there.
    """
    height, width = fitted_size(image.shape[0], image.shape[1], size)
    window = np.full((height + -height % multiple, width + -width % multiple, 3), PAD_VALUE, np.uint8)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=GAP)
    window[:height, :width] = np.asarray(resized)
    return window, (height, width)


def magnified(window: np.ndarray, zoom: float, multiple: int) -> np.ndarray:
    """A window (h, w, 3) uint8 enlarged about ``zoom`` times, to sides that are multiples of ``multiple``."""
    if zoom == 1:
        return window
    height, width = (max(multiple, round(side * zoom / multiple) * multiple) for side in window.shape[:2])
    return np.asarray(Image.fromarray(window).resize((width, height), Image.Resampling.BICUBIC))


def middle(array: np.ndarray, side: int) -> np.ndarray:
    """The middle of an array (H, W, ...), at most ``side`` pixels high and wide."""
    top, left = (max(0, (length - side) // 2) for length in array.shape[:2])
    return array[top : top + side, left : left + side]


def pick_nearest(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """An array (H, W, ...) at (height, width) by nearest neighbour, pixel centres aligned; no value is mixed."""
    rows = ((np.arange(height) + 0.5) * array.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * array.shape[1] / width).astype(int)
    return array[np.ix_(rows, columns)]
