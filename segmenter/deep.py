"""Pictures of more than 8 bits or three bands, as a screen shows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# Tags of a TIFF and values of theirs: what numbers stand for; whether a fourth band is opacity, and colours are
# multiplied by it already; and GDAL's, the value of what was not measured, as text.
PHOTOMETRIC, WHITE_IS_ZERO, RGB, PRINTED = 262, 0, 2, 5
EXTRA_SAMPLES, MULTIPLIED, PLAIN = 338, 1, 2
ORIENTATION = 274  # EXIF's too; 1 is upright
NO_DATA = 42113
TAGS = (PHOTOMETRIC, EXTRA_SAMPLES, ORIENTATION, NO_DATA)

# Percentiles that stretch deep pictures to 8 bits, as microscopy tools do (Weigert et al.,
# Nature Methods 2018, CSBDeep's default).
PERCENTILES = (1.0, 99.8)
SAMPLE = 10_000_000  # values; of larger pictures rows and columns evenly apart tell the percentiles
STRIP_PIXELS = 1_000_000  # values are stretched in strips of about this many pixels


def stretch(
    values: np.ndarray, no_data: float | None = None, hidden: np.ndarray | None = None, inverted: bool = False
) -> np.ndarray:
    """Deep values (H, W, 1 or 3) to RGB uint8 (H, W, 3) between two percentiles over all bands.

    NaN, and pixels whose every band is ``no_data``, the value of what was not measured, count for nothing and become
    black; neither do pixels count where ``hidden`` bool (H, W) is true. ``inverted`` shows the largest value black and
    the smallest white.
    """
    step = math.ceil(math.sqrt(values.size / SAMPLE))
    drawn = np.zeros((*values.shape[:2], 3), np.uint8)
    with np.errstate(over="ignore", invalid="ignore"):  # values beyond float32 count as infinite
        sample = values[::step, ::step]
        known = np.isfinite(sample) & ~_all_are(sample, no_data)
        if hidden is not None:
            known &= ~hidden[::step, ::step, None]
        found = sample[known].astype(np.float32)
        found = found[np.isfinite(found)]
        low, high = map(float, np.percentile(found, PERCENTILES)) if found.size else (0.0, 0.0)
        if high <= low and found.size:
            low, high = float(found.min()), float(found.max())
        if not high > low:
            return drawn
        black, white = (high, low) if inverted else (low, high)
        # Strips across the longer side, so that each is small in a picture of any shape.
        wide = values.shape[1] > values.shape[0]
        source, target = (each.swapaxes(0, 1) if wide else each for each in (values, drawn))
        rows = max(1, STRIP_PIXELS // source.shape[1])
        for top in range(0, len(source), rows):
            strip = source[top : top + rows]
            scaled = (strip.astype(np.float64) - black) * (255.0 / (white - black))
            scaled = np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).clip(0, 255).round()
            target[top : top + rows] = np.where(_all_are(strip, no_data), 0, scaled)
    return drawn


def _all_are(values: np.ndarray, no_data: float | None) -> np.ndarray:
    """bool (H, W, 1), true where all bands have that value; nowhere for None."""
    found: np.ndarray = (values == no_data).all(axis=-1, keepdims=True)
    return found


def no_data_of(tags: Mapping[int, Any]) -> float | None:
    """The value of what was not measured, None where the tags of a TIFF name none."""
    try:
        return float(tags.get(NO_DATA, ""))
    except (TypeError, ValueError):
        return None


def page_as_shown(array: np.ndarray, tags: Mapping[int, Any]) -> np.ndarray:
    """The first three bands of a TIFF's page (H, W, bands), or the first where there are fewer or it is grey with an
    opacity, as RGB uint8 (H, W, 3), transparency over white; ``tags`` are its values by their codes, of TAGS."""
    colours = 3 if tags.get(PHOTOMETRIC) == RGB else 1
    kinds = np.ravel(tags.get(EXTRA_SAMPLES, ()))
    kind = int(kinds[0]) if kinds.size and array.shape[2] > colours else 0
    opacity = _opacity(array[..., colours]) if kind in (MULTIPLIED, PLAIN) else None
    if opacity is not None and not is_opacity(opacity, 1):
        opacity = None
    bands = array[..., :3] if array.shape[2] >= 3 and (colours == 3 or opacity is None) else array[..., :1]
    inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    if bands.dtype == np.uint8:
        shown = np.array(np.broadcast_to(255 - bands if inverted else bands, (*bands.shape[:2], 3)), order="C")
        return shown if opacity is None else over_white(shown, opacity, kind == MULTIPLIED)
    if opacity is None:
        return stretch(bands, no_data_of(tags), inverted=inverted)
    if kind == MULTIPLIED:
        bands = bands / np.where(opacity > 0, opacity, 1)[..., None]
    return over_white(stretch(bands, no_data_of(tags), opacity == 0, inverted), opacity)


def is_opacity(values: np.ndarray, largest: int) -> bool:
    """Whether values from 0 to ``largest`` (H, W) are opacity, as which writers give out any fourth band, the near
    infrared too: where they are, most pixels are all there or not."""
    return bool(values.max() == largest and ((values > 0) & (values < largest)).mean() <= 0.5)


def over_white(colours: np.ndarray, opacity: np.ndarray, multiplied: bool = False) -> np.ndarray:
    """RGB uint8 (H, W, 3), ``multiplied`` by its ``opacity`` float32 (H, W) in [0, 1] already or not, on a white
    ground; written into ``colours``."""
    for row, share in zip(colours, opacity[..., None], strict=True):  # row by row, for little memory
        seen = row if multiplied else row * share
        row[:] = (seen + 255 * (1 - share)).clip(0, 255).round()
    return colours


def _opacity(values: np.ndarray) -> np.ndarray:
    """A band of opacity as float32 (H, W) in [0, 1]; whole numbers are shares of the largest of their type."""
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    found: np.ndarray = np.nan_to_num(values.astype(np.float32) / largest).clip(0, 1)
    return found
