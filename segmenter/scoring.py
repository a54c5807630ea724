"""One result against a true mask: the scores, and a picture of the errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from segmenter import metrics
from segmenter.metrics import IGNORE
from segmenter.tasks import Task
from segmenter.true_mask import ScoreError, read_true_mask

__all__ = ["ERRORS", "Score", "ScoreError", "error_map", "error_picture", "read_true_mask", "score"]

# What ``error_map`` holds and how it is drawn: name -> (value, RGB). Blue, yellow and vermilion of Okabe & Ito
# (2008) differ in hue and in lightness for every common colour vision.
ERRORS: dict[str, tuple[int, tuple[int, int, int]]] = {
    "hit": (1, (0, 114, 178)),
    "missed": (2, (240, 228, 66)),
    "false": (3, (213, 94, 0)),
}
ERROR_OPACITY = 0.75
DIMMED = 0.75  # the image under the errors, so that yellow stands out from its whites


@dataclass(frozen=True, eq=False)
class Score:
    """How well one picture's class ids agree with the true ones; all scores are in [0, 1].

    ``iou`` and ``dice`` hold one number per class name, 1 for a class in neither mask; ``mean_iou`` is the mean
    over all classes, ``foreground_iou`` that of all classes but the background taken together, as one class.
    ``boundary_f`` is the mean of ``metrics.boundary_f`` over the foreground classes that are in the truth or in
    the prediction, 1 where none is; ignored pixels belong to neither. ``confusion`` is int64 (C, C), rows the
    true class, columns the predicted one; ``ignored`` counts pixels without a truth.
    """

    iou: dict[str, float]
    dice: dict[str, float]
    mean_iou: float
    foreground_iou: float
    pixel_accuracy: float
    boundary_f: float
    confusion: np.ndarray
    ignored: int

    def plain(self) -> dict[str, Any]:
        """All fields as what JSON takes."""
        return {**vars(self), "confusion": self.confusion.tolist()}


def score(class_ids: np.ndarray, true_ids: np.ndarray, task: Task) -> Score:
    """Compare predicted with true class ids, both uint8 (H, W); where the truth is 255 a pixel does not count.

    ValueError when the shapes differ or an id is no class of the task.
    """
    names = task.class_names
    confusion = metrics.confusion_matrix(true_ids, class_ids, len(names))
    iou, dice = metrics.iou_per_class(confusion), metrics.dice_per_class(confusion)
    known = true_ids != IGNORE
    tolerance = metrics.boundary_tolerance(class_ids.shape)
    present = [i for i in range(1, len(names)) if confusion[i].any() or confusion[:, i].any()]
    boundaries = [metrics.boundary_f(true_ids == i, class_ids == i, known, tolerance) for i in present]
    return Score(
        iou=dict(zip(names, iou.tolist(), strict=True)),
        dice=dict(zip(names, dice.tolist(), strict=True)),
        mean_iou=float(iou.mean()),
        foreground_iou=float(metrics.iou_per_class(metrics.foreground_confusion(confusion))[1]),
        pixel_accuracy=metrics.pixel_accuracy(confusion),
        boundary_f=float(np.mean(boundaries)) if boundaries else 1.0,
        confusion=confusion,
        ignored=int(known.size - known.sum()),
    )


def error_map(class_ids: np.ndarray, true_ids: np.ndarray) -> np.ndarray:
    """Where predicted and true class ids (H, W) agree: uint8 (H, W).

    0 is background found as such, 1 a hit (the right foreground class), 2 missed (foreground taken for
    background), 3 false (a foreground class where there is background or another class), 255 ignored.
    """
    errors = np.zeros(true_ids.shape, np.uint8)
    errors[(true_ids > 0) & (class_ids == true_ids)] = ERRORS["hit"][0]
    errors[(true_ids > 0) & (class_ids == 0)] = ERRORS["missed"][0]
    errors[(class_ids > 0) & (class_ids != true_ids)] = ERRORS["false"][0]
    errors[true_ids == IGNORE] = IGNORE
    return errors


def error_picture(image: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Errors as ``error_map`` gives them, drawn over the dimmed image in grey: RGB uint8 (H, W, 3).

    ``image`` is RGB uint8 (H, W, 3). The colours are those of ``ERRORS``; ignored pixels are nearly white.
    """
    grey = (np.asarray(Image.fromarray(image).convert("L")) * DIMMED).astype(np.uint16)
    table = np.zeros((256, 3), np.uint8)
    table[IGNORE] = 255
    for value, colour in ERRORS.values():
        table[value] = colour
    share = np.where(errors > 0, round(ERROR_OPACITY * 256), 0).astype(np.uint16)[..., None]
    mixed = grey[..., None] * (256 - share) + table[errors].astype(np.uint16) * share
    return (mixed >> 8).astype(np.uint8)
