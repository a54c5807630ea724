"""The scores of a run over a split, and how they are printed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segmenter import metrics as scores
from segmenter.metrics import IGNORE
from segmenter.tasks import Task
from train.task import TrainingTask


@dataclass
class Score:
    """Counts over pictures, and what they amount to."""

    task: Task
    confusion: np.ndarray
    foreground: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    matches: list[tuple[np.ndarray, int, int]] = field(default_factory=list)
    calibration: np.ndarray = field(default_factory=lambda: np.zeros((scores.CALIBRATION_BINS, 3)))

    @classmethod
    def of(cls, task: Task) -> Score:
        return cls(task, np.zeros((len(task.classes),) * 2, np.int64))

    def add(
        self,
        target: np.ndarray,
        predicted: np.ndarray,
        matches: tuple[np.ndarray, int, int] | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Count one picture: true and predicted class ids (H, W), the matches of its objects where there are,
        and the confidence (H, W) where it is judged."""
        confusion = scores.confusion_matrix(target, predicted, len(self.task.classes))
        self.confusion += confusion
        self.foreground.append(float(scores.iou_per_class(scores.foreground_confusion(confusion))[1]))
        self.mean.append(float(scores.iou_per_class(confusion).mean()))
        if matches is not None:
            self.matches.append(matches)
        if confidence is not None:
            known = target != IGNORE
            self.calibration += scores.calibration_counts(confidence[known], (target == predicted)[known])

    def report(self) -> dict[str, Any]:
        """All scores in [0, 1], rounded to 4 digits. Per-image means weigh every picture alike. A class that is
        nowhere in the truth has no score, and there is no mean over the classes then."""
        occurs = self.confusion.sum(1) > 0
        names = np.array(self.task.class_names)[occurs].tolist()
        iou, dice = (of(self.confusion)[occurs] for of in (scores.iou_per_class, scores.dice_per_class))
        foreground = scores.foreground_confusion(self.confusion)
        found: dict[str, Any] = {
            "images": len(self.mean),
            "class_iou": dict(zip(names, iou.round(4).tolist(), strict=True)),
            "class_dice": dict(zip(names, dice.round(4).tolist(), strict=True)),
        }
        if occurs.all():
            found |= {
                "mean_iou": round(float(iou.mean()), 4),
                "mean_iou_per_image": round(float(np.mean(self.mean)), 4),
            }
        found |= {
            "foreground_iou": round(float(scores.iou_per_class(foreground)[1]), 4),
            "foreground_iou_per_image": round(float(np.mean(self.foreground)), 4),
            "pixel_accuracy": round(scores.pixel_accuracy(self.confusion), 4),
        }
        if self.matches:
            precision = scores.average_precision(self.matches)
            found["ap_50"] = round(precision[0.5], 4)
            of_image = [scores.average_precision([match])[0.5] for match in self.matches]
            found["ap_50_per_image"] = round(float(np.mean(of_image)), 4)
            found["ap_50_95"] = round(float(np.mean(list(precision.values()))), 4)
            found["objects"] = sum(match[1] for match in self.matches)
        pixels = self.calibration[:, :1]
        if pixels.any():
            found["ece"] = round(scores.expected_calibration_error(self.calibration), 4)
            shares = np.hstack([pixels / pixels.sum(), self.calibration[:, 1:] / np.maximum(pixels, 1)])
            found["reliability"] = shares.round(4).tolist()
        return found


class Scores:
    """One block: the score over all pictures, per source, and with no-data pixels ignored where a task has them."""

    def __init__(self, training: TrainingTask) -> None:
        self.task, self.ignored = training.task, training.ignored
        self.total, self.known = Score.of(self.task), Score.of(self.task)
        self.by_source: dict[str, Score] = {}

    def add(
        self,
        source: str,
        class_ids: np.ndarray,
        image: np.ndarray,
        predicted: np.ndarray,
        matches: tuple[np.ndarray, int, int] | None = None,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Count one picture (H, W, 3) with true and predicted class ids (H, W), and what else ``Score.add`` takes."""
        self.total.add(class_ids, predicted, matches, confidence)
        self.by_source.setdefault(source, Score.of(self.task)).add(class_ids, predicted, matches)
        if self.ignored is not None:
            self.known.add(np.where(self.ignored(image), IGNORE, class_ids), predicted, None, confidence)

    def report(self, name: str) -> dict[str, Any]:
        found = {name: self.total.report()}
        if self.ignored is not None:
            found[f"{name}_no_data_ignored"] = self.known.report()
        if len(self.by_source) > 1:
            found[f"{name}_by_source"] = {source: score.report() for source, score in self.by_source.items()}
        return found


def table(found: dict[str, Any]) -> str:
    """The scores as text: a row a score, a column a block."""
    columns = dict(_columns(found))
    rows = dict.fromkeys(name for block in columns.values() for name in block)
    width = max(len(name) for name in rows)
    widths = {name: max(len(name), 8) for name in columns}
    lines = [" " * width + "".join(f"  {name:>{widths[name]}}" for name in columns)]
    for row in rows:
        cells = (f"  {block.get(row, '-'):>{widths[name]}}" for name, block in columns.items())
        lines.append(f"{row:{width}}" + "".join(cells))
    return "\n".join(lines)


def _columns(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for name, block in found.items():
        if name.endswith("_by_source"):
            if name.startswith("own_size"):
                for source, inner in block.items():
                    yield source, _rows(inner)
        else:
            yield name, _rows(block)


def _rows(block: dict[str, Any]) -> dict[str, str]:
    rows = {}
    for name, value in block.items():
        if isinstance(value, dict):
            rows.update({f"{name} {key}": f"{inner:.4f}" for key, inner in value.items()})
        elif name != "reliability":
            rows[name] = f"{value:.4f}" if isinstance(value, float) else str(value)
    return rows


def reliability_diagram(found: list[list[float]]) -> str:
    """Bins of [share of the pixels, confidence, accuracy] as text: # up to the accuracy, | at the confidence."""
    width = 50
    lines = ["confidence  accuracy  pixels"]
    for share, confidence, accuracy in found:
        if share:
            bar = list(f"{'#' * round(accuracy * width):{width + 1}}")
            bar[round(confidence * width)] = "|"
            lines.append(f"{confidence:10.3f}  {accuracy:8.3f}  {share:6.1%}  {''.join(bar).rstrip()}")
    return "\n".join(lines)
