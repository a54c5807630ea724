"""From the network's probabilities to a class and a confidence for every pixel of the picture, strip by strip."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from segmenter.threads import usable_cpus

STRIP_PIXELS = 128 * 1024  # half a megabyte for each map: small enough for a processor's own cache


def enlarge(values: np.ndarray, height: int, width: int, rows: range | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Scale values float32 (C, h, w) bilinearly to (C, height, width), pixel centres aligned.

    Yields strips (top row, values (C, rows, width)) from top to bottom, of all rows or of those in ``rows`` alone.
    A strip is valid until the next one.
    """
    rows = rows or range(height)
    if values.shape[1:] == (height, width):
        yield rows.start, values[:, rows.start : rows.stop]
        return
    above, below, down = (found[rows.start : rows.stop] for found in _neighbours(values.shape[1], height))
    source = values[:, above[0] : below[-1] + 1]
    above = above - above[0]
    left, right, across = _neighbours(values.shape[2], width)
    wide = np.take(source, left, axis=2)  # contiguous, unlike source[:, :, left]
    wide += (np.take(source, right, axis=2) - wide) * across
    steps = np.diff(wide, axis=1, append=wide[:, -1:])  # from each row to the next, of which the last has none
    rows_per_strip = max(1, STRIP_PIXELS // width)
    strips = np.empty((2, len(values), min(rows_per_strip, len(rows)), width), np.float32)
    for first in range(0, len(rows), rows_per_strip):
        here = slice(first, min(first + rows_per_strip, len(rows)))
        strip, step = strips[:, :, : here.stop - here.start]
        np.take(wide, above[here], axis=1, out=strip, mode="clip")
        np.take(steps, above[here], axis=1, out=step, mode="clip")
        step *= down[here, None]
        strip += step
        yield rows.start + first, strip


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """All of what ``enlarge`` yields, float32 (C, height, width)."""
    if values.shape[1:] == (height, width):
        return values
    whole = np.empty((len(values), height, width), np.float32)
    for top, strip in enlarge(values, height, width):
        whole[:, top : top + strip.shape[1]] = strip
    return whole


def shares(height: int, width: int) -> list[range]:
    """The rows of a picture in as many parts as there are processors, in one where more are not worth a thread."""
    count = max(1, min(usable_cpus(), height * width // (2 * STRIP_PIXELS), height))
    bounds = [height * number // count for number in range(count + 1)]
    return [range(first, last) for first, last in pairwise(bounds)]


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``new`` pixels its two neighbours among ``old`` ones, and the second one's share float32."""
    centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
    first = centres.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)


def choose(probabilities: np.ndarray, class_ids: np.ndarray, confidence: np.ndarray) -> None:
    """Write the likeliest of C classes, uint8 (H, W), and its probability, float32 (H, W) in [0, 1].

    ``probabilities`` float32 (C - 1, H, W) are those of the classes after class 0, which has what they leave of 1; of
    equal ones the first counts.
    """
    first, *others = probabilities
    np.subtract(1, first, out=confidence)
    for candidate in others:
        confidence -= candidate
    np.greater(first, confidence, out=class_ids.view(bool))
    np.maximum(first, confidence, out=confidence)
    for class_id, candidate in enumerate(others, 2):
        better = (candidate > confidence).view(np.uint8)
        np.maximum(class_ids, better * np.uint8(class_id), out=class_ids)  # a later class has the larger id
        np.maximum(confidence, candidate, out=confidence)
    one = np.ones(confidence.shape[1], np.float32)  # NumPy takes the minimum with a single number four times as slowly
    np.minimum(confidence, one, out=confidence)  # rounding may leave it just above
