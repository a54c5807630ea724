"""What one task brings to its training and evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from segmenter.config import Config
from segmenter.tasks import Task
from train.data import Example
from train.recipe import Recipe


@dataclass(frozen=True)
class TrainingTask:
    """A task with what is needed to train it.

    ``examples(root, split, recipe)`` lists a split. ``to_network_target`` and ``to_class_ids`` turn what
    an example reads into the class ids of the network's maps and of the task, where the two differ from it;
    ``network_classes`` is ``Config.network_classes`` then. ``ignored`` tells from an image (H, W, 3) where
    its truth means nothing, bool (H, W). ``voc`` are the Pascal VOC ids that show what the task looks for.
    """

    task: Task
    examples: Callable[[Path, str, Recipe], list[Example]]
    recipes: dict[str, Recipe]
    splits: tuple[str, ...] = ("train", "val", "test")
    downloads: tuple[Callable[[Path], None], ...] = ()
    to_class_ids: Callable[[np.ndarray], np.ndarray] | None = None
    to_network_target: Callable[[np.ndarray], np.ndarray] | None = None
    network_classes: tuple[int, ...] | None = None
    ignored: Callable[[np.ndarray], np.ndarray] | None = None
    voc: tuple[int, ...] = ()

    def class_ids(self, target: np.ndarray) -> np.ndarray:
        """What an example reads, as the task's class ids (H, W)."""
        return target if self.to_class_ids is None else self.to_class_ids(target)

    def config(self, recipe: Recipe) -> Config:
        maps = self.network_classes or tuple(range(len(self.task.classes)))
        return Config(
            task=self.task.name,
            network={**recipe.network, "classes": len(maps)},
            classes=self.task.class_names,
            network_classes=maps,
            input_policy="stretch" if recipe.stretch else self.task.input_policy,
            size=recipe.size,
            overlap=recipe.overlap,
            auto_contrast=recipe.auto_contrast,
            recipe=asdict(recipe),
        )
