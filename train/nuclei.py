"""The nuclei model: `python -m train.nuclei --data DIR`.

2018 Data Science Bowl (BBBC038, CC0; Caicedo et al. 2019): ``nuclei/stage1_train/<id>/{images/<id>.png,
masks/*.png}``, one mask per nucleus, and ``nuclei/stage1_test`` with its released masks, which comes
from other laboratories. stage1_train is parted by a hash of the folder's id into test, val and train;
stage1_test is a split of its own and never learnt from. The network tells the core of a nucleus from its
rim, so that touching nuclei come apart; both are the class nucleus.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from segmenter.tasks import NUCLEI
from train import download
from train.data import DataError, Example, read_grey, require, split_of
from train.recipe import UNET, Recipe
from train.run import main
from train.stains import BRIGHT
from train.task import TrainingTask

RECIPES = {
    "default": Recipe(
        network=UNET,
        size=512,
        overlap=64,
        crop=256,
        scale=(0.5, 3.0),
        auto_contrast=True,
        augment="microscopy",
        repeat=5,
        epochs=22,
        ema=0.999,
        seed=13,
    ),
    # TensorFlow's tutorial network: MobileNetV2 and transposed convolutions, early stopping.
    "ancestor": Recipe(
        network={"_model_class": "TransposedUNet", "encoder_name": "mobilenet_v2"},
        size=128,
        crop=128,
        stretch=True,
        extra=False,
        loss="cross_entropy",
        optimiser="adam",
        schedule="constant",
        learning_rate=1e-3,
        batch=16,
        epochs=50,
        patience=5,
    ),
}

CORE = (0, 1, 1)  # class ids of the network's maps: background, core, rim
CORE_DEPTH = 0.4  # where the core begins, as a share of the way from a nucleus's outline to its deepest point

# How often an epoch shows a picture: by its area, and bright fields (stained tissue, transmitted light),
# a sixth of the pictures but far more of what people have, more often.
MOST_COPIES = 4
BRIGHT_COPIES = 2


@lru_cache(maxsize=1024)
def read_labels(folder: Path) -> np.ndarray:
    """Instance labels int32 (H, W) from one file per nucleus, 0 is background."""
    files = sorted((folder / "masks").glob("*.png"))
    if not files:
        raise DataError(f"{folder / 'masks'} holds no mask; unpack the dataset again.")
    labels = np.zeros(read_grey(files[0]).shape, np.int32)
    for number, file in enumerate(files, 1):
        mask = read_grey(file)
        if mask.shape != labels.shape:
            raise DataError(f"{file} is {mask.shape}, the other masks {labels.shape}; replace it.")
        labels[mask > 0] = number
    return labels


def to_network_target(labels: np.ndarray) -> np.ndarray:
    """Labels -> 0 background, 1 core, 2 rim of each nucleus, as wide as the nucleus is large."""
    from scipy import ndimage
    from skimage.segmentation import find_boundaries

    labels = np.maximum(labels, 0)
    outline = find_boundaries(labels, connectivity=1, mode="inner")
    inside = (labels > 0) & ~outline
    # All of one nucleus has no outline to measure from: all is core.
    depth = np.ones(labels.shape) if inside.all() else ndimage.distance_transform_edt(inside)
    deepest = np.zeros(labels.max() + 1)
    np.maximum.at(deepest, labels.ravel(), depth.ravel())
    core = (depth > 0) & (depth >= CORE_DEPTH * deepest[labels])
    target: np.ndarray = (labels > 0).astype(np.uint8) * 2 - core
    return target


def to_class_ids(labels: np.ndarray) -> np.ndarray:
    return (labels > 0).astype(np.uint8)


def examples(root: Path, split: str, recipe: Recipe) -> list[Example]:
    subset = "stage1_test" if split == "stage1_test" else "stage1_train"
    parent = require(
        root / "nuclei" / subset,
        "2018 Data Science Bowl",
        "run with --download, or get stage1_train.zip and stage1_test.zip with its masks from "
        "https://bbbc.broadinstitute.org/BBBC038 and unpack each into that folder.",
    )
    folders = sorted(folder for folder in parent.iterdir() if folder.is_dir())
    found = [
        Example(folder.name, folder / "images" / f"{folder.name}.png", partial(read_labels, folder), subset)
        for folder in folders
        if split == "stage1_test" or split_of(folder.name) == split
    ]
    if split == "train" and recipe.extra:
        return [copy for example in found for copy in [example] * copies(example.image, recipe.crop)]
    return found


def copies(path: Path, crop: int) -> int:
    """How often an epoch shows a picture, each time with another crop; once if it cannot be read, which is told when
    it is needed."""
    try:
        grey = read_grey(path)
    except DataError:
        return 1
    by_area = round(min(max(grey.size / crop**2, 1), MOST_COPIES))
    return by_area * BRIGHT_COPIES if grey.mean() > BRIGHT else by_area


TRAINING = TrainingTask(
    NUCLEI,
    examples,
    RECIPES,
    splits=("train", "val", "test", "stage1_test"),
    to_class_ids=to_class_ids,
    to_network_target=to_network_target,
    network_classes=CORE,
    downloads=(download.nuclei,),
)

if __name__ == "__main__":
    main(TRAINING)
