"""Scores of predicted against true class ids and objects. Arrays in, numbers out."""

from __future__ import annotations

import numpy as np

IGNORE = 255


def confusion_matrix(target: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Pixel counts (classes, classes), int64: rows are the true class, columns the predicted one.

    ``target`` and ``predicted`` are integer arrays of one shape; where ``target`` is 255 a pixel does
    not count. ValueError when the shapes differ or an id is not below ``classes``.
    """
    if target.shape != predicted.shape:
        raise ValueError(f"target is {target.shape}, prediction {predicted.shape}; they must be of one shape.")
    known = target != IGNORE
    true, guess = target[known].astype(np.int64), predicted[known].astype(np.int64)
    if true.size:
        low, high = min(true.min(), guess.min()), max(true.max(), guess.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"class ids reach from {low} to {high}; with {classes} classes they go from 0 to {classes - 1}."
            )
    return np.bincount(true * classes + guess, minlength=classes**2).reshape(classes, classes)


def iou_per_class(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union per class, float64 (classes,); 1 for a class in neither mask."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return np.divide(hit, union, out=np.ones_like(hit), where=union > 0)


def dice_per_class(confusion: np.ndarray) -> np.ndarray:
    """Dice (F1) per class, float64 (classes,): 2 hit / (true + predicted); 1 for a class in neither."""
    hit = 2.0 * np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1)
    return np.divide(hit, total, out=np.ones_like(hit), where=total > 0)


def pixel_accuracy(confusion: np.ndarray) -> float:
    """The share of pixels with the right class; 1 when there is none."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else 1.0


def foreground_confusion(confusion: np.ndarray) -> np.ndarray:
    """The matrix (2, 2) of background against all other classes taken together."""
    rows = np.add.reduceat(confusion, [0, 1], axis=0)
    return np.add.reduceat(rows, [0, 1], axis=1)


def boundary_tolerance(shape: tuple[int, ...]) -> float:
    """How far, in pixels, a boundary may be off: 0.75% of the diagonal of a picture (H, W), at least 1.

    The share is that of Csurka et al. (BMVC 2013).
    """
    return max(1.0, 0.0075 * float(np.hypot(shape[0], shape[1])))


def boundary_f(target: np.ndarray, predicted: np.ndarray, known: np.ndarray, tolerance: float) -> float:
    """The boundary F-score of one class in [0, 1]: 2 P R / (P + R).

    ``target`` and ``predicted`` are its true and predicted mask, ``known`` is false where the truth is ignored; all
    bool (H, W). P is the share of predicted boundary pixels at most ``tolerance`` pixels (Euclidean, between pixel
    centres) from a true one, R the share of true boundary pixels as near to a predicted one: BF of Csurka et al.
    (BMVC 2013), F of Perazzi et al. (CVPR 2016). A boundary pixel is a known pixel of the mask with a known pixel
    outside the mask among its 4 neighbours; the picture's edge is no boundary. 1 where neither mask has a
    boundary, 0 where one of them alone has.
    """
    true, guess = _boundary(target, known), _boundary(predicted, known)
    if not (true.any() and guess.any()):
        return float(true.any() == guess.any())
    from scipy.ndimage import distance_transform_edt

    precision = float((distance_transform_edt(~true)[guess] <= tolerance).mean())
    recall = float((distance_transform_edt(~guess)[true] <= tolerance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _boundary(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    inside, outside = mask & known, ~mask & known
    beside = np.zeros(mask.shape, bool)
    beside[1:] |= outside[:-1]
    beside[:-1] |= outside[1:]
    beside[:, 1:] |= outside[:, :-1]
    beside[:, :-1] |= outside[:, 1:]
    return inside & beside


CALIBRATION_BINS = 15


def calibration_counts(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Pixels by confidence in 15 equal bins of [0, 1]: float64 (15, 3), per bin their number, the sum of their
    confidence and how many are correct. ``confidence`` float and ``correct`` bool are of one shape."""
    chosen = np.minimum((confidence.ravel() * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    columns = (None, confidence.ravel(), correct.ravel())
    return np.stack([np.bincount(chosen, column, CALIBRATION_BINS) for column in columns], axis=1).astype(np.float64)


def expected_calibration_error(counts: np.ndarray) -> float:
    """How far confidence is from accuracy, averaged over all pixels, in [0, 1]; 0 when there is none.

    ECE of Guo et al. (ICML 2017) from the counts of ``calibration_counts``.
    """
    pixels = counts[:, 0].sum()
    return float(np.abs(counts[:, 1] - counts[:, 2]).sum() / pixels) if pixels else 0.0


def object_matches(target: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, int, int]:
    """IoU of each true object with the predicted one it overlaps best.

    ``target`` and ``predicted`` are label arrays (H, W), 0 is background. Returns the IoUs of every
    pair that shares more than half its union (at most one partner each, so no assignment is needed),
    the number of true and the number of predicted objects.
    """
    true_ids, true = np.unique(target, return_inverse=True)
    guess_ids, guess = np.unique(predicted, return_inverse=True)
    shape = (true_ids.size, guess_ids.size)
    shared = np.bincount(true.ravel() * shape[1] + guess.ravel(), minlength=shape[0] * shape[1]).reshape(shape)
    union = shared.sum(1, keepdims=True) + shared.sum(0, keepdims=True) - shared
    iou = (shared / np.maximum(union, 1))[np.ix_(true_ids > 0, guess_ids > 0)]
    return iou[iou > 0.5], iou.shape[0], iou.shape[1]


AP_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def average_precision(matches: list[tuple[np.ndarray, int, int]]) -> dict[float, float]:
    """AP = TP / (TP + FP + FN) over all objects of all pictures at IoU 0.50, 0.55, ... 0.95.

    The definition of the Data Science Bowl 2018 (Caicedo et al., Nature Methods 2019), summed over
    the dataset as in StarDist; the competition took the mean over pictures. ``matches`` are results of
    ``object_matches``; 1 where no object is.
    """
    true = sum(match[1] for match in matches)
    guess = sum(match[2] for match in matches)
    ious = np.concatenate([match[0] for match in matches]) if matches else np.zeros(0)
    result = {}
    for threshold in AP_THRESHOLDS:
        hit = int((ious > threshold).sum())
        total = true + guess - hit
        result[threshold] = hit / total if total else 1.0
    return result
