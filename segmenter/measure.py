"""What a result measures: its objects, its regions, and areas in the units of its field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segmenter.result import Segmentation
from segmenter.tasks import LONGEST_SIDE, SHORTEST_SIDE, TASKS, Task, is_side

# Unit of length -> the unit of area its field counts in, and how many square lengths that holds.
AREA_UNITS = {"m": ("ha", 10_000.0), "µm": ("µm²", 1.0)}


@dataclass(frozen=True)
class ObjectStats:
    """One object of ``Segmentation.instances()``, by the definitions of skimage.measure.regionprops.

    ``area`` is in pixels. ``centroid_x`` (to the right) and ``centroid_y`` (down) are in pixels from the centre
    of the picture's first pixel, which is (0, 0). ``equivalent_diameter`` is that of a circle of the same area, in
    pixels; ``eccentricity`` that of the ellipse with the same second moments, from 0 (a circle) to 1 (a line).
    """

    id: int
    area: int
    centroid_x: float
    centroid_y: float
    equivalent_diameter: float
    eccentricity: float


def objects(result: Segmentation) -> list[ObjectStats]:
    """The objects of a result in the order of their ids."""
    from skimage.measure import regionprops_table

    names = ("label", "area", "centroid", "equivalent_diameter_area", "eccentricity")
    table = regionprops_table(result.instances(), properties=names)
    columns = ("label", "area", "centroid-1", "centroid-0", "equivalent_diameter_area", "eccentricity")
    return [
        ObjectStats(int(label), int(area), *map(float, rest))
        for label, area, *rest in zip(*(table[column] for column in columns), strict=True)
    ]


def area(pixels: float, pixel_size: float, task: Task) -> tuple[float, str]:
    """The area that a number of pixels covers, and its unit: "ha" for water, "µm²" for nuclei.

    ``pixel_size`` is the side of a pixel in ``task.length_unit``. ValueError for a task without one, and for a
    size that no pixel has.
    """
    if task.length_unit not in AREA_UNITS:
        known = " or ".join(name for name, other in TASKS.items() if other.length_unit)
        raise ValueError(f"{task.name} pictures have no pixel size that turns pixels into an area; only {known} have.")
    if not is_side(pixel_size):
        raise ValueError(
            f"the pixel size is {str(pixel_size)[:20]}; give the side of a pixel in {task.length_unit}, a number from "
            f"{SHORTEST_SIDE:f} to {LONGEST_SIDE:,.0f}."
        )
    unit, square = AREA_UNITS[task.length_unit]
    return pixels * pixel_size * pixel_size / square, unit


@dataclass(frozen=True)
class Region:
    """A connected part of one class. ``pixels`` is a count, ``confidence`` the mean of its pixels in [0, 1], ``box``
    its (left, top, width, height) in pixels.

    Where objects are counted ``id`` is the object's, as in ``Segmentation.instances()``, and None for a region
    too small to count as one; elsewhere regions are numbered from 1.
    """

    id: int | None
    class_id: int
    pixels: int
    confidence: float
    box: tuple[int, int, int, int]


def regions(result: Segmentation) -> tuple[np.ndarray, list[Region]]:
    """Every pixel that is not background in exactly one region: objects where the task counts them, else the
    connected regions of each class; pixels connect by their sides.

    Returns labels int (H, W), 0 is background, and the region of label i at i - 1: objects in the order of
    their ids and then what is too small, other regions in the order of their first pixels.
    """
    from scipy.ndimage import find_objects
    from skimage.measure import label

    classes = len(result.task.classes)
    keys = result.class_ids.astype(np.int64)
    if result.task.has_objects:
        keys += result.instances().astype(np.int64) * classes
    labels, count = label(keys, background=0, return_num=True, connectivity=1)
    key_of = np.zeros(count + 1, np.int64)
    key_of[labels] = keys
    object_ids, class_ids = np.divmod(key_of[1:], classes)
    order = np.argsort(np.where(object_ids > 0, object_ids, np.iinfo(np.int64).max), kind="stable")
    number = np.zeros(count + 1, np.int64)
    number[1 + order] = np.arange(1, count + 1)
    labels = number[labels]
    pixels = np.bincount(labels.ravel(), minlength=count + 1)
    confidence = np.bincount(labels.ravel(), result.confidence.ravel(), minlength=count + 1)
    found = []
    for i, (rows, columns) in enumerate(find_objects(labels), start=1):
        object_id = int(object_ids[order[i - 1]]) or None
        found.append(
            Region(
                id=object_id if result.task.has_objects else i,
                class_id=int(class_ids[order[i - 1]]),
                pixels=int(pixels[i]),
                confidence=float(confidence[i] / pixels[i]),
                box=(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start),
            )
        )
    return labels, found
