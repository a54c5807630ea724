"""The facts found in one picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from segmenter.instances import label_objects
from segmenter.tasks import ClassInfo, Task


class Computed:
    """A field of a dataclass that is given as an array, or as a function that makes it when it is first read. Threads
    that read it first at the same time make it once each."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, instance: Any, value: np.ndarray | Callable[[], np.ndarray]) -> None:
        vars(instance)[self.name] = value

    def __get__(self, instance: Any, owner: type) -> np.ndarray:
        if instance is None:  # a dataclass asks for a default
            raise AttributeError(self.name)
        value = vars(instance)[self.name]
        if callable(value):
            value = vars(instance)[self.name] = value()
        found: np.ndarray = value
        return found


@dataclass(frozen=True)
class ClassStats:
    """One class in one picture: ``pixels`` is a count, ``fraction`` of the whole picture in [0, 1],
    ``confidence`` the mean probability of its pixels, 0 where it has none."""

    name: str
    color: tuple[int, int, int]
    pixels: int
    fraction: float
    confidence: float

    @property
    def hex_color(self) -> str:
        """The colour as "#rrggbb"."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a model found. All arrays have the picture's own height and width.

    ``image`` uint8 (H, W, 3) RGB; ``class_ids`` uint8 (H, W); ``confidence`` float32 (H, W) in [0, 1],
    the calibrated probability of the chosen class, which of a photograph is computed when it is first read;
    ``seeds`` bool (H, W), the cores of objects, where the model knows them, else None. Objects have at least
    ``min_object`` pixels. ``familiarity`` tells how much the picture is like those the model learnt from: log-odds,
    below 0 where it is not; None if unknown.
    """

    image: np.ndarray
    class_ids: np.ndarray
    confidence: Computed = Computed()
    task: Task  # type: ignore[misc]  # mypy takes the descriptor for a default, which its __get__ says it is not
    seeds: np.ndarray | None = None
    min_object: int = 1
    familiarity: float | None = None

    @property
    def notice(self) -> str | None:
        """A plain statement where the picture does not look like what the model was trained on, else None."""
        if self.familiarity is None or self.familiarity >= 0:
            return None
        return (
            f"This does not look like the pictures that the {self.task.name} model was trained on; "
            "take its mask with care."
        )

    def mask(self, class_name: str) -> np.ndarray:
        """bool (H, W), true where the class was chosen; KeyError for a class the task has not."""
        mask: np.ndarray = self.class_ids == self.task.class_id(class_name)
        return mask

    def stats(self) -> list[ClassStats]:
        """One record per class in id order."""
        return list(self._stats)

    @cached_property
    def _stats(self) -> list[ClassStats]:
        return [self._stats_of(info) for info in self.task.classes]

    def _stats_of(self, info: ClassInfo) -> ClassStats:
        chosen = self.mask(info.name)
        pixels = int(np.count_nonzero(chosen))
        total = float(self.confidence.sum(where=chosen, dtype=np.float64))
        return ClassStats(info.name, info.color, pixels, pixels / chosen.size, total / pixels if pixels else 0.0)

    def coverage(self) -> dict[str, float]:
        """Class name -> its fraction of the picture in [0, 1]; they sum to 1."""
        total = self.class_ids.size
        return {name: int(np.count_nonzero(self.mask(name))) / total for name in self.task.class_names}

    def instances(self) -> np.ndarray:
        """Labelled objects int32 (H, W), 0 is background: touching ones parted where the model knows seeds."""
        return self._labels

    def take_instances(self, labels: np.ndarray) -> None:
        """Let ``labels`` int32 (H, W) be its objects, as they are in the picture that this one is a smaller copy of."""
        labels.setflags(write=False)
        vars(self)["_labels"] = labels

    @cached_property
    def _labels(self) -> np.ndarray:
        labels = label_objects(self.class_ids > 0, self.seeds, self.min_object)
        labels.setflags(write=False)
        return labels
