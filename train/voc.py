"""Pascal VOC 2012 segmentation, for cats, dogs, cars and pictures without any.

The layout that ``torchvision.datasets.VOCSegmentation`` reads: ``VOCdevkit/VOC2012/{JPEGImages,
SegmentationClass,ImageSets/Segmentation}``. Research use; Everingham et al., IJCV 2010, with the
labels of Hariharan et al., ICCV 2011. Ids: 7 car, 8 cat, 12 dog, 255 void.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from segmenter.metrics import IGNORE
from train.data import Example, read_grey, read_text, require

CAR, CAT, DOG, VOID = 7, 8, 12, 255
Contour = tuple[int, int]


def voc_examples(root: Path, split: str, wanted: tuple[int, ...], contour: Contour = (0, 0)) -> list[Example]:
    """Pictures of ``split`` ("train" or "val"); the ``wanted`` classes become 1, all others 0.

    ``contour`` widens the ignored band around the wanted objects by so many pixels into them and out of them, for a
    task whose own data draws a border class there.
    """
    folder = require(
        root / "voc" / "VOCdevkit" / "VOC2012",
        "Pascal VOC 2012",
        "run with --download, or get VOCtrainval_11-May-2012.tar from "
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it into the folder voc.",
    )
    names = read_text(folder / "ImageSets" / "Segmentation" / f"{split}.txt").split()
    return [
        Example(
            name,
            folder / "JPEGImages" / f"{name}.jpg",
            partial(read_voc, folder / "SegmentationClass" / f"{name}.png", wanted, contour),
            "VOC",
        )
        for name in names
    ]


def read_voc(path: Path, wanted: tuple[int, ...], contour: Contour) -> np.ndarray:
    raw = read_grey(path)
    inside = np.isin(raw, wanted)
    class_ids = inside.astype(np.uint8)
    class_ids[raw == VOID] = IGNORE
    if any(contour):
        from scipy.ndimage import distance_transform_edt

        for region, depth in zip((inside, ~inside), contour, strict=True):
            if not region.all():  # else there is no contour, and SciPy would measure from beyond a corner
                class_ids[region & (distance_transform_edt(region) <= depth)] = IGNORE
    return class_ids
