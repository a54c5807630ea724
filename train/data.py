"""Pictures and their true masks, found in the official layouts and read one by one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from segmenter.image import ImageError, read_image

DATA_VARIABLE = "SEGMENTER_DATA"


class DataError(Exception):
    """A dataset is missing or flawed; its message names the file and the way out."""


@dataclass(frozen=True)
class Example:
    """One picture with its truth. ``read_target`` returns (H, W) integers: class ids in which 255 is
    ignored, or for nuclei instance labels. ``source`` names the dataset it belongs to."""

    name: str
    image: Path
    read_target: Callable[[], np.ndarray]
    source: str

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """(image, target) with equal height and width; DataError names the file that is at fault."""
        try:
            image = read_image(self.image)
            target = self.read_target()
        except (ImageError, OSError) as error:
            raise DataError(f"{self.image}: {error}") from error
        if image.shape[:2] != target.shape:
            raise DataError(
                f"{self.image} is {image.shape[:2]} but its mask is {target.shape} (height, width); "
                "replace one of them."
            )
        return image, target


def shows(example: Example, class_id: int = 1) -> bool:
    """Whether the truth of an example has a class; also where it cannot be read, which is told when it is needed."""
    try:
        return bool((example.read_target() == class_id).any())
    except DataError:
        return True


Transform = Callable[[np.ndarray, np.ndarray], tuple[Tensor, Tensor]]


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """Examples through a transform: uint8 image (H, W, 3) and int64 target (H, W).

    What chance does to a sample follows from the seed and its index alone, so a run gives the same
    samples with any number of workers and after a resume. Indices beyond the length are later
    epochs' (see EpochShuffle).
    """

    def __init__(self, examples: Sequence[Example], transform: Transform, repeat: int = 1, seed: int = 0) -> None:
        self.examples = list(examples) * repeat
        self.transform, self.seed = transform, seed

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, target = self.examples[index % len(self)].read()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed * 1_000_003 + index)
            return self.transform(image, target)


class EpochShuffle(Sampler[int]):
    """A new order every epoch, a function of seed and epoch alone. Yields epoch * count + position."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch, after a resume too."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter((torch.randperm(self.count, generator=generator) + self.epoch * self.count).tolist())


def data_root(argument: str | None) -> Path:
    """The folder that holds ``pets/ water/ nuclei/ cars/ voc/``, from ``--data`` or the environment."""
    root = argument or os.environ.get(DATA_VARIABLE)
    if not root:
        raise DataError(f"no data folder is named; give --data DIR or set {DATA_VARIABLE}.")
    return Path(root).expanduser()


def require(path: Path, title: str, way_out: str) -> Path:
    """``path`` if it exists; otherwise a DataError that names it, the dataset and where to get it."""
    if not path.exists():
        raise DataError(f"{title} is not at {path}; {way_out}")
    return path


def pictures_in(folder: Path, pattern: str, title: str) -> list[Path]:
    """The files below ``folder`` that fit the pattern, sorted; DataError where there is none."""
    found = sorted(folder.glob(pattern))
    if not found:
        raise DataError(f"{title} has no file {pattern} in {folder}; unpack it there again.")
    return found


def read_text(path: Path) -> str:
    """A dataset's list of its pictures; DataError where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"{path} cannot be read ({reason}); unpack the dataset again.") from error


def hashed(stem: str) -> int:
    """A number of 128 bits that follows from a file stem alone, for splits that are the same everywhere."""
    return int(hashlib.md5(stem.encode()).hexdigest(), 16)


def fold(stem: str) -> int:
    """The fold 0 to 9 of a file stem where a dataset has no official split: 0 is test, 1 is val."""
    return hashed(stem) % 10


def split_of(stem: str) -> str:
    return {0: "test", 1: "val"}.get(fold(stem), "train")


def counted_split(examples: Sequence[Example], val: int, test: int) -> dict[str, list[Example]]:
    """A random split into fixed counts, as the ancestors drew it; the same for every run, and for its teacher."""
    order = np.random.default_rng(0).permutation(len(examples))
    shuffled = [examples[i] for i in order]
    return {"test": shuffled[:test], "val": shuffled[test : test + val], "train": shuffled[test + val :]}


def different(examples: Sequence[Example]) -> list[Example]:
    """Each picture once, which an epoch may show more often."""
    return list({example.image: example for example in examples}.values())


def spread(examples: Sequence[Example], count: int) -> list[Example]:
    """At most ``count`` different pictures, evenly spread over the list."""
    found = different(examples)
    return [found[i] for i in np.linspace(0, len(found) - 1, min(count, len(found))).astype(int)]


def read_grey(path: Path, red: bool = False) -> np.ndarray:
    """A mask file's raw values uint8 (H, W), palette indices as they stand, or the red of what it shows. DataError
    where it cannot be read."""

    def grey(image: Image.Image) -> Image.Image:
        if red:
            return image.convert("RGB").getchannel("R")
        return image if image.mode in ("L", "P") else image.convert("L")

    return read_values(path, grey)


def read_values(path: Path, convert: Callable[[Image.Image], Image.Image] = lambda image: image) -> np.ndarray:
    """The values of a mask file as it stores them, or as ``convert`` makes them. DataError where it cannot be read."""
    try:
        with Image.open(path) as image:
            return np.array(convert(image))
    except Exception as error:  # a damaged file raises whatever its decoder meets first
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise DataError(f"{path} cannot be read ({reason}); restore it.") from error


def read_mapped(path: Path, table: np.ndarray) -> np.ndarray:
    """A mask of raw ids through a lookup ``table`` of 256 class ids."""
    return table[read_grey(path)]


def binarised(grey: np.ndarray, threshold: int | None = 127) -> np.ndarray:
    """Class ids of grey values uint8 (H, W): 1 above ``threshold``, or above Otsu's threshold where it is None."""
    if threshold is None:
        from skimage.filters import threshold_otsu

        threshold = int(threshold_otsu(grey)) if grey.min() < grey.max() else 127
    return (grey > threshold).astype(np.uint8)


def lookup(mapping: dict[int, int], default: int = 0) -> np.ndarray:
    """A table of 256 class ids from raw id -> class id."""
    table = np.full(256, default, np.uint8)
    for raw, class_id in mapping.items():
        table[raw] = class_id
    return table


def mapped(path: Path, table: np.ndarray) -> Callable[[], np.ndarray]:
    return partial(read_mapped, path, table)


def collate(samples: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
    images, targets = zip(*samples, strict=True)
    return {"image": torch.stack(images), "target": torch.stack(targets)}
