"""The pets model: `python -m train.pets --data DIR`.

Oxford-IIIT Pet trimaps (Parkhi et al. 2012, CC BY-SA 4.0) in torchvision's layout:
``pets/oxford-iiit-pet/{images,annotations/{trainval.txt,test.txt,trimaps}}``. A trimap is 1 pet,
2 background, 3 border; here background is 0, pet 1, border 2. Validation is one tenth of trainval,
by a hash of the file's stem; test is the official list. VOC's cats, dogs and pictures without any
are learnt from too, the band where Oxford has its border ignored: about 16 of 500 pixels into the animal.

Copies of the dataset in which trimaps are missing may have others in their place, derived from masks of
the animal alone and listed in ``annotations/derived_trimaps.txt``. The trimaps drawn by hand reach
further out, so derived ones are grown, and pictures with those drawn by hand are shown twice as often.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segmenter.tasks import PETS
from train import download
from train.data import DataError, Example, fold, lookup, read_grey, read_text, require
from train.recipe import UNET, Recipe
from train.run import main
from train.task import TrainingTask
from train.voc import CAT, DOG, voc_examples

TRIMAP = lookup({1: 1, 2: 0, 3: 2})

# How far derived trimaps grow, as a share of the picture's longest side: 1.5 pixels of 300. Grown so far, a
# network misses and exceeds them nearly as it does those drawn by hand.
GROWN = 0.005

BASE = Recipe(
    network=UNET,
    size=320,
    crop=320,
    scale=(0.6, 1.3),
    augment="photo",
    repeat=3,
    epochs=18,
    batch=32,
    ema=0.999,
    seed=12,
)

RECIPES = {
    "base": BASE,
    "default": replace(BASE, teacher="base", scale=(0.5, 1.4), epochs=14, seed=21),
    # Two Keras U-Nets from scratch; this one is the larger, 34,513,475 parameters.
    "ancestor": Recipe(
        network={"_model_class": "ClassicUNet", "filters": [64, 128, 256, 512, 1024], "dropout": 0.3},
        init="random",
        size=128,
        crop=128,
        stretch=True,
        extra=False,
        loss="cross_entropy",
        optimiser="adam",
        schedule="constant",
        learning_rate=1e-3,
        batch=64,
        epochs=20,
    ),
}


def examples(root: Path, split: str, recipe: Recipe) -> list[Example]:
    if split == "voc":
        return voc_examples(root, "val", (CAT, DOG), contour=(4, 4))
    folder = require(
        root / "pets" / "oxford-iiit-pet",
        "Oxford-IIIT Pet",
        "run with --download, or get images.tar.gz and annotations.tar.gz from "
        "https://www.robots.ox.ac.uk/~vgg/data/pets/ and unpack them there.",
    )
    listed = "test" if split == "test" else "trainval"
    lines = read_text(folder / "annotations" / f"{listed}.txt").splitlines()
    names = [line.split()[0] for line in lines if line.strip()]
    if split != "test":
        names = [name for name in names if (fold(name) == 1) == (split == "val")]
    listing = folder / "annotations" / "derived_trimaps.txt"
    derived = set(read_text(listing).split()) if listing.is_file() else set()
    trimaps = folder / "annotations" / "trimaps"

    def example(name: str) -> Example:
        path = trimaps / f"{name}.png"
        grown = name in derived and recipe.extra and split != "test"
        read = partial(read_derived if grown else read_trimap, path)
        return Example(name, folder / "images" / f"{name}.jpg", read, "Oxford-IIIT Pet")

    found = [example(name) for name in names]
    if split == "train" and recipe.extra:
        drawn = [one for one in found if one.name not in derived] if derived else []
        found += drawn + voc_examples(root, "train", (CAT, DOG), contour=(16, 4))
    return found


def read_trimap(path: Path) -> np.ndarray:
    """Class ids of a trimap; DataError where it holds another value than 1, 2 and 3."""
    values = read_grey(path)
    strange = values[(values < 1) | (values > 3)]
    if strange.size:
        raise DataError(
            f"{path} holds the value {strange[0]}; a trimap has 1 pet, 2 background and 3 border: replace it."
        )
    return TRIMAP[values]


def read_derived(path: Path) -> np.ndarray:
    """Class ids of a derived trimap, the border grown outwards."""
    from scipy.ndimage import distance_transform_edt

    class_ids = read_trimap(path)
    background = class_ids == 0
    if not background.all():
        class_ids[background & (distance_transform_edt(background) <= GROWN * max(class_ids.shape))] = 2
    return class_ids


TRAINING = TrainingTask(
    PETS,
    examples,
    RECIPES,
    splits=("train", "val", "test", "voc"),
    voc=(CAT, DOG),
    downloads=(download.oxford_pets, download.voc),
)

if __name__ == "__main__":
    main(TRAINING)
