"""From the network's probabilities to a class and a confidence for every pixel of the picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

STRIP_PIXELS = 128 * 1024  # half a megabyte for each map: small enough for a processor's own cache
MOST_MIXED = 0.1  # of a mask, beyond which it takes longer to interpolate some of its pixels than all of them


def enlarge(values: np.ndarray, height: int, width: int) -> Iterator[tuple[int, np.ndarray]]:
    """Scale values float32 (C, h, w) bilinearly to (C, height, width), pixel centres aligned.

    Yields strips (top row, values (C, rows, width)) from top to bottom. A strip is valid until the next one.
    """
    if values.shape[1:] == (height, width):
        yield 0, values
        return
    above, _, down = _neighbours(values.shape[1], height)
    left, right, across = _neighbours(values.shape[2], width)
    wide = np.take(values, left, axis=2)  # contiguous, unlike values[:, :, left]
    wide += (np.take(values, right, axis=2) - wide) * across
    steps = np.diff(wide, axis=1, append=wide[:, -1:])  # from each row to the next, of which the last has none
    rows_per_strip = max(1, STRIP_PIXELS // width)
    strips = np.empty((2, len(values), min(rows_per_strip, height), width), np.float32)
    for first in range(0, height, rows_per_strip):
        here = slice(first, min(first + rows_per_strip, height))
        strip, step = strips[:, :, : here.stop - here.start]
        np.take(wide, above[here], axis=1, out=strip, mode="clip")
        np.take(steps, above[here], axis=1, out=step, mode="clip")
        step *= down[here, None]
        strip += step
        yield first, strip


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """All of what ``enlarge`` yields, float32 (C, height, width)."""
    if values.shape[1:] == (height, width):
        return values
    whole = np.empty((len(values), height, width), np.float32)
    for top, strip in enlarge(values, height, width):
        whole[:, top : top + strip.shape[1]] = strip
    return whole


def enlarged_classes(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The class uint8 (height, width) that ``choose`` finds in ``probabilities`` (C - 1, h, w) enlarged to that size.

    Where the four values around a pixel have the same likeliest class, any mean of them has it too: only the other
    pixels, few in most masks, are interpolated.
    """
    coarse: np.ndarray = np.empty(probabilities.shape[1:], np.uint8)
    choose(probabilities, coarse, None)
    above, below, down = _neighbours(coarse.shape[0], height)
    left, right, across = _neighbours(coarse.shape[1], width)
    class_ids = np.take(np.take(coarse, left, axis=1), above, axis=0)

    # A cell is what lies between four neighbours; it is named by the one at its upper left.
    padded = np.pad(coarse, (0, 1), mode="edge")
    mixed = (coarse != padded[:-1, 1:]) | (coarse != padded[1:, :-1]) | (coarse != padded[1:, 1:])
    if mixed.mean() > MOST_MIXED:
        for first, strip in enlarge(probabilities, height, width):
            choose(strip, class_ids[first : first + strip.shape[1]], None)
        return class_ids
    (top, bottom), (start, end) = _spans(above, coarse.shape[0]), _spans(left, coarse.shape[1])
    rows, columns = np.nonzero(mixed & (top <= bottom)[:, None] & (start <= end))
    if not len(rows):
        return class_ids
    tall = np.arange(1 + (bottom - top)[rows].max())[:, None]
    wide = np.arange(1 + (end - start)[columns].max())
    at_once = max(1, STRIP_PIXELS // (tall.size * wide.size))
    for first in range(0, len(rows), at_once):
        row, column = (each[first : first + at_once, None, None] for each in (rows, columns))
        y = np.minimum(top[row] + tall, bottom[row])  # a lower cell has its last row again, a narrower its last column
        x = np.minimum(start[column] + wide, end[column])
        next_row, next_column = below[y[:, :1]], right[x[:, :, :1]]
        upper, lower = (
            probabilities[:, near, column] * (1 - across[x]) + probabilities[:, near, next_column] * across[x]
            for near in (row, next_row)
        )
        found = np.empty(np.broadcast_shapes(y.shape, x.shape), np.uint8)
        choose(upper * (1 - down[y]) + lower * down[y], found, None)
        class_ids[y, x] = found
    return class_ids


def likeliest(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The probability float32 (height, width) of the class that ``choose`` finds in ``probabilities`` (C - 1, h, w)
    enlarged to that size."""
    confidence = np.empty((height, width), np.float32)
    for top, strip in enlarge(probabilities, height, width):
        choose(strip, None, confidence[top : top + strip.shape[1]])
    return confidence


def _neighbours(old: int, new: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of ``new`` pixels its two neighbours among ``old`` ones, and the second one's share float32."""
    centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).clip(0, old - 1)
    first = centres.astype(np.intp)
    return first, np.minimum(first + 1, old - 1), (centres - first).astype(np.float32)


def _spans(near: np.ndarray, old: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``old`` pixels the first and the last of the new ones whose first neighbour it is; where there is
    none, the last is before the first."""
    numbers = np.arange(old)
    return np.searchsorted(near, numbers), np.searchsorted(near, numbers, side="right") - 1


def choose(probabilities: np.ndarray, class_ids: np.ndarray | None, confidence: np.ndarray | None) -> None:
    """Write the likeliest of C classes, uint8 (..., W), and its probability, float32 (..., W) in [0, 1], where they are
    wanted.

    ``probabilities`` float32 (C - 1, ..., W) are those of the classes after class 0, which has what they leave of 1; of
    equal ones the first counts.
    """
    first, *others = probabilities
    class_ids = np.empty(first.shape, np.uint8) if class_ids is None else class_ids
    confidence = np.empty(first.shape, np.float32) if confidence is None else confidence
    np.subtract(1, first, out=confidence)
    for candidate in others:
        confidence -= candidate
    np.greater(first, confidence, out=class_ids.view(bool))
    np.maximum(first, confidence, out=confidence)
    for class_id, candidate in enumerate(others, 2):
        better = (candidate > confidence).view(np.uint8)
        np.maximum(class_ids, better * np.uint8(class_id), out=class_ids)  # a later class has the larger id
        np.maximum(confidence, candidate, out=confidence)
    one = np.ones(confidence.shape[-1], np.float32)  # NumPy takes the minimum with a single number four times as slowly
    np.minimum(confidence, one, out=confidence)  # rounding may leave it just above
