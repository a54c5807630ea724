"""From the network's probabilities to a class and a confidence for every pixel of the picture, strip by strip."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

STRIP_PIXELS = 128 * 1024  # half a megabyte for each map: small enough for a processor's own cache


def enlarge(values: np.ndarray, height: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """Scale values float32 (C, h, w) bilinearly to (C, height, width), pixel centres aligned.

    Yields strips (top row, values (C, rows, width)) from top to bottom. A strip is valid until the next one.
    """
    if values.shape[1:] == (height, width):
        yield 0, values
        return
    left, right, share = _neighbours(values.shape[2], width)
    wide = np.take(values, left, axis=2)  # contiguous, unlike values[:, :, left]
    wide += (np.take(values, right, axis=2) - wide) * share
    above, below, share = _neighbours(values.shape[1], height)
    rows_per_strip = max(1, STRIP_PIXELS // width)
    strips = np.empty((2, len(values), min(rows_per_strip, height), width), np.float32)
    for top in range(0, height, rows_per_strip):
        rows = slice(top, min(top + rows_per_strip, height))
        strip, other = strips[:, :, : rows.stop - rows.start]
        np.take(wide, above[rows], axis=1, out=strip, mode="clip")
        np.take(wide, below[rows], axis=1, out=other, mode="clip")
        other -= strip
        other *= share[rows, None]
        strip += other
        yield top, strip


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``new`` pixels its two neighbours among ``old`` ones, and the second one's share float32."""
    centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
    first = centres.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)


def choose(probabilities: np.ndarray, class_ids: np.ndarray, confidence: np.ndarray) -> None:
    """Write the likeliest of C classes, uint8 (H, W), and its probability, float32 (H, W) in [0, 1].

    ``probabilities`` float32 (C, H, W); of equal ones the first counts.
    """
    confidence[...] = probabilities[0]
    class_ids[...] = 0
    for class_id, candidate in enumerate(probabilities[1:], 1):
        np.copyto(class_ids, np.uint8(class_id), where=candidate > confidence)
        np.maximum(confidence, candidate, out=confidence)
    confidence.clip(0, 1, out=confidence)
