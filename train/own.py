"""Pictures of one's own instead of a task's datasets: `python -m train.TASK --pictures DIR`.

``DIR/images`` holds pictures and ``DIR/masks`` a mask for each, called alike but for the ending, or as the page and the
package export it (``cat.jpg`` and ``cat.png``, or ``cat-pets-mask.png``). A mask is what a result can be scored
against (``segmenter.true_mask``): an indexed or grey PNG of class ids in which 255 is ignored, black and white, or COCO
JSON. For nuclei it is a picture of labels, 0 for background and another number for each nucleus, as Cellpose,
StarDist and QuPath write it; or black and white, where every connected region is a nucleus.

By the hashes of their stems a tenth is kept to test on and a tenth to choose by, at least one picture each. Training
goes on from the shipped weights at a quarter of the rate that they were begun with.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from segmenter.image import read_image
from segmenter.tasks import Task
from segmenter.true_mask import ScoreError, read_true_mask
from train.data import DataError, Example, hashed, read_values, require
from train.recipe import Recipe
from train.task import TrainingTask

LEAST = 3  # pictures: one to learn from, one to choose by, one to test on


def on_own(training: TrainingTask) -> TrainingTask:
    """The same task on a folder of one's own, which its ``examples`` take for the root, with one recipe."""
    recipe = training.recipes.get("base", training.recipes["default"])
    fitting = replace(recipe, extra=False, learning_rate=recipe.learning_rate / 4)
    return replace(
        training,
        examples=partial(examples, training.task),
        recipes={"default": fitting},
        splits=("train", "val", "test"),
        downloads=(),
        ignored=None,
        voc=(),
    )


def examples(task: Task, root: Path, split: str, recipe: Recipe) -> list[Example]:
    """A split of the pictures in ``root``; DataError where one has no mask, or there are too few."""
    images = files_in(root / "images")
    if len(images) < LEAST:
        raise DataError(f"{root / 'images'} holds {len(images)} pictures; at least {LEAST} are needed, better dozens.")
    found = {path.stem: path for path in files_in(root / "masks")}
    masks = {image: found.get(image.stem) or found.get(f"{image.stem}-{task.name}-mask") for image in images}
    bare = [image.name for image, mask in masks.items() if mask is None]
    if bare:
        raise DataError(
            f"{len(bare)} of {len(images)} pictures have no mask of their name in {root / 'masks'}, {bare[0]} first of "
            "all; put their masks there, or take the pictures out."
        )
    images.sort(key=lambda image: hashed(image.stem))
    tenth = max(1, round(len(images) / 10))
    wanted = {"test": images[:tenth], "val": images[tenth : 2 * tenth], "train": images[2 * tenth :]}[split]
    return [example(task, image, mask) for image in wanted if (mask := masks[image])]


def files_in(folder: Path) -> list[Path]:
    """The files of a folder but for hidden ones, sorted."""
    require(folder, f"The folder {folder.name}", "put pictures into images, and a mask for each into masks.")
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def example(task: Task, image: Path, mask: Path) -> Example:
    read = partial(read_labels, mask) if task.has_objects else partial(read_ids, image, mask, task)
    return Example(image.stem, image, read, "own")


def read_ids(image: Path, mask: Path, task: Task) -> np.ndarray:
    """True class ids uint8 (H, W) of a picture."""
    try:
        return read_true_mask(mask, task, read_image(image).shape[:2], image.name)
    except ScoreError as error:
        raise DataError(f"{mask.parent}: {error}") from error


def read_labels(path: Path) -> np.ndarray:
    """Labels int32 (H, W) of objects, 0 is background; of black and white those of connected regions."""
    values = read_values(path)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise DataError(f"{path} is no picture of labels; save it in grey, with a number for each object.")
    found, labels = np.unique(values, return_inverse=True)
    if len(found) <= 2 and found[0] == 0:
        return ndimage.label(values)[0].astype(np.int32)
    return labels.reshape(values.shape).astype(np.int32) + (found[0] != 0)
