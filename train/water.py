"""The water model: `python -m train.water --data DIR`.

Kaggle "Satellite Images of Water Bodies": Sentinel-2 RGB, ``water/Water Bodies Dataset/{Images,
Masks}/water_body_N.jpg`` (Copernicus data). Masks are grey JPEGs from a thresholded water index,
water above the middle. Outside the turned satellite footprint the picture is black and the mask says
water: a label flaw, so the default recipe ignores these pixels. No official split; a hash of the
file's stem parts test, val and train.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segmenter.image import read_image
from segmenter.metrics import IGNORE
from segmenter.tasks import WATER
from train.data import Example, binarised, counted_split, pictures_in, read_grey, require, split_of
from train.recipe import UNET, Recipe
from train.run import main
from train.task import TrainingTask

BLACK = 8  # the brightest channel of a black pixel, JPEG noise included

BASE = Recipe(
    network=UNET,
    size=256,
    overlap=48,
    crop=256,
    scale=(0.5, 1.5),
    augment="satellite",
    repeat=3,
    epochs=20,
    ema=0.999,
    seed=15,
)

RECIPES = {
    "base": BASE,
    "default": replace(BASE, teacher="base", repeat=5, batch=32, epochs=15, seed=24),
    # Classic U-Net with three output maps there (8,639,811 parameters), two here.
    "ancestor": Recipe(
        network={"_model_class": "ClassicUNet", "filters": [32, 64, 128, 256, 512], "head_filters": [32]},
        init="random",
        size=128,
        crop=128,
        stretch=True,
        extra=False,
        split="ancestor",
        loss="bce",
        optimiser="adam",
        schedule="constant",
        learning_rate=1e-3,
        batch=32,
        epochs=18,
    ),
}
ANCESTOR_VAL, ANCESTOR_TEST = 250, 300  # 2,291 are left for training of the complete 2,841


def read_mask(mask: Path, image: Path, ignore_black: bool) -> np.ndarray:
    class_ids = binarised(read_grey(mask))
    if ignore_black:
        pixels = read_image(image)
        if pixels.shape[:2] == class_ids.shape:
            class_ids[no_data(pixels)] = IGNORE
    return class_ids


def no_data(image: np.ndarray) -> np.ndarray:
    """Where the satellite saw nothing, bool (H, W): black regions at the picture's edge, nearly all of them exactly 0.

    Dark ground and deep water have noise and stay: of the pixels up to 8 in this dataset only half are no data.
    """
    from scipy import ndimage

    brightest = image.max(axis=2)
    regions, count = ndimage.label(brightest <= BLACK)
    at_edge = np.zeros(count + 1, bool)
    for side in (regions[0], regions[-1], regions[:, 0], regions[:, -1]):
        at_edge[side] = True
    at_edge[0] = False
    pixels = np.bincount(regions.ravel(), minlength=count + 1)
    exact = np.bincount(regions.ravel(), brightest.ravel() == 0, minlength=count + 1)
    empty: np.ndarray = (at_edge & (exact > 0.8 * pixels))[regions]
    return empty


def examples(root: Path, split: str, recipe: Recipe) -> list[Example]:
    folder = require(
        root / "water" / "Water Bodies Dataset",
        "Satellite Images of Water Bodies",
        "get the archive (a login is needed) from "
        "https://www.kaggle.com/datasets/franciscoescobar/satellite-images-of-water-bodies "
        "and unpack it into the folder water.",
    )
    ignore_black = split in ("train", "val") and recipe.extra
    found = [
        Example(image.stem, image, partial(read_mask, folder / "Masks" / image.name, image, ignore_black), "Sentinel-2")
        for image in pictures_in(folder, "Images/*.jpg", "Satellite Images of Water Bodies")
    ]
    if recipe.split == "ancestor":
        return counted_split(found, ANCESTOR_VAL, ANCESTOR_TEST)[split]
    return [example for example in found if split_of(example.name) == split]


TRAINING = TrainingTask(WATER, examples, RECIPES, ignored=no_data)

if __name__ == "__main__":
    main(TRAINING)
