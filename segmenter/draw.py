"""Pictures of a result: masks in the palette's colours and overlays on the image."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from PIL import Image

from segmenter.fitting import fitted_size, pick_nearest
from segmenter.result import Segmentation
from segmenter.tasks import Task

IGNORED_COLOUR = (255, 255, 255)


def palette(task: Task) -> np.ndarray:
    """uint8 (256, 3): class id -> RGB; ids that are no class are white."""
    table = np.full((256, 3), IGNORED_COLOUR, np.uint8)
    table[: len(task.classes)] = [info.color for info in task.classes]
    return table


def colour_mask(class_ids: np.ndarray, task: Task) -> np.ndarray:
    """Class ids (H, W) -> RGB uint8 (H, W, 3) in the task's colours; 255 is white."""
    return palette(task)[class_ids]


def mask_picture(result: Segmentation, classes: Collection[str] | None = None) -> np.ndarray:
    """The class ids in their colours without the image: RGB uint8 (H, W, 3); ``classes`` as in ``overlay``."""
    colours = palette(result.task)
    colours[~_shown(result.task, classes)] = colours[0]
    return colours[result.class_ids]


def _shown(task: Task, classes: Collection[str] | None) -> np.ndarray:
    """bool (256,): true for the ids of the named classes, by default all but the background, which never is."""
    shown = np.zeros(256, bool)
    names = task.class_names[1:] if classes is None else classes
    shown[[i for i, name in enumerate(task.class_names) if i and name in names]] = True
    return shown


def overlay(result: Segmentation, opacity: float = 0.5, classes: Collection[str] | None = None) -> np.ndarray:
    """The palette blended over the image: RGB uint8 (H, W, 3).

    ``opacity`` in [0, 1]; ``classes`` names the classes to draw, by default all but the background,
    which never is. Objects and regions get an outline in their full colour.
    """
    visible = _shown(result.task, classes)[result.class_ids]
    colours = colour_mask(result.class_ids, result.task)
    share = round(opacity * 256)
    blended = (result.image.astype(np.uint16) * (256 - share) + colours.astype(np.uint16) * share) >> 8
    drawn = np.where(visible[..., None], blended.astype(np.uint8), result.image)
    regions = result.instances() if result.task.has_objects else result.class_ids
    edges = outlines(regions) & visible
    drawn[edges] = colours[edges]
    return drawn


def outlines(regions: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels whose right or lower neighbour belongs to another region, and that neighbour."""
    edges = np.zeros(regions.shape, bool)
    across, down = regions[:, 1:] != regions[:, :-1], regions[1:] != regions[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def shrink(result: Segmentation, side: int) -> Segmentation:
    """The same result for display, its longer side at most ``side`` pixels; a smaller one comes back as it is.

    The image is averaged, class ids, objects and the rest take the nearest pixel, so counts belong to the original.
    """
    if max(result.class_ids.shape) <= side:
        return result
    height, width = result.class_ids.shape
    rows, columns = fitted_size(height, width, side)
    image = Image.fromarray(result.image).resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=2.0)
    class_ids, confidence = (pick_nearest(array, rows, columns) for array in (result.class_ids, result.confidence))
    seeds = None if result.seeds is None else pick_nearest(result.seeds, rows, columns)
    min_object = max(1, round(result.min_object * class_ids.size / result.class_ids.size))
    small = replace(
        result,
        image=np.asarray(image),
        class_ids=class_ids,
        confidence=confidence,
        seeds=seeds,
        min_object=min_object,
    )
    if result.task.has_objects:
        small.take_instances(pick_nearest(result.instances(), rows, columns))
    return small
