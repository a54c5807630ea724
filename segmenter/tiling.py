"""Large pictures in overlapping windows, blended strip by strip; knows no network and no task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

Run = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
MULTIPLE = 32  # what the networks' sides are multiples of
AT_ONCE = 64  # windows of a row of tiles: a very wide picture has thousands


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles of a side start so that they cover ``length`` pixels and overlap by at least ``overlap``.

    Evenly spread: the last one ends at the border. One start where a tile holds the whole side.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap is {overlap} and tile {tile}; the overlap must be from 0 to below the tile.")
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(step * (length - tile) / (count - 1)) for step in range(count)]


def blend_window(height: int, width: int) -> np.ndarray:
    """float32 (height, width) weights in (0, 1]: 1 in the middle, falling to the edges, never zero."""
    rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) / ((n + 1) // 2) for n in (height, width))
    return np.outer(rows, columns).astype(np.float32)


def padded_window(image: np.ndarray, tile: int) -> np.ndarray:
    """An image (H, W, 3) of at most one tile, mirrored right and below to multiples of 32."""
    height, width = image.shape[:2]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    return np.pad(image, ((0, down), (0, right), (0, 0)), mode="symmetric")[:tile, :tile]


def tile_rows(image: np.ndarray, tile: int, overlap: int) -> Iterator[list[np.ndarray]]:
    """The windows of an image (H, W, 3), row by row of tiles from top to bottom, each from left to right, at most
    AT_ONCE together."""
    height, width = image.shape[:2]
    lefts = tile_starts(width, tile, overlap)
    for top in tile_starts(height, tile, overlap):
        for some in _some(lefts):
            yield _windows(image[top : top + tile], some, tile)


def _some(lefts: list[int]) -> list[list[int]]:
    return [lefts[first : first + AT_ONCE] for first in range(0, len(lefts), AT_ONCE)]


def _windows(row: np.ndarray, lefts: list[int], tile: int) -> list[np.ndarray]:
    return [padded_window(row[:, left : left + tile], tile) for left in lefts]


def run_tiles(run: Run, image: np.ndarray, tile: int, overlap: int) -> Iterator[tuple[int, np.ndarray]]:
    """Run a network over an image tile by tile and blend what it says where tiles overlap.

    ``run`` takes up to AT_ONCE windows (h, w, 3) uint8 of a row with h and w multiples of 32 and at most ``tile``,
    itself such a multiple, and returns values (C, h, w) float32 for each. Yields (top row, values (C, rows, W))
    from top to bottom, each row once; memory holds one row of tiles, whatever the image's height.
    """
    height, width = image.shape[:2]
    tops, lefts = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    tile_height, tile_width = min(tile, height), min(tile, width)
    weight = blend_window(tile_height, tile_width)
    total = np.zeros((tile_height, width), np.float32)  # of the weights, in the rows from `top` on
    values: np.ndarray | None = None
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        for some in _some(lefts):
            outputs = run(_windows(image[top : top + tile], some, tile))
            if values is None:
                values = np.zeros((len(outputs[0]), tile_height, width), np.float32)
            for left, output in zip(some, outputs, strict=True):
                columns = slice(left, left + tile_width)
                values[:, :, columns] += output[:, :tile_height, :tile_width] * weight
                total[:, columns] += weight
        assert values is not None  # there is always a tile
        done = following - top
        yield top, values[:, :done] / total[:done]
        values = _shift_up(values, done)
        total = _shift_up(total, done)


def _shift_up(rows: np.ndarray, done: int) -> np.ndarray:
    """Drop the first ``done`` rows (of the last axis but one) and append as many zero rows."""
    shifted = np.zeros_like(rows)
    shifted[..., : rows.shape[-2] - done, :] = rows[..., done:, :]
    return shifted
