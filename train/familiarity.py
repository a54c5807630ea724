"""What a model knows: linear judges of its encoder's features that tell pictures of its task from all others."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from segmenter import Segmenter
from segmenter.config import Familiarity, Judge
from segmenter.image import ImageError, read_image
from segmenter.tasks import TASKS
from train.augment import restyled
from train.data import DataError, Example, shows, spread
from train.drawn import drawn
from train.recipe import Recipe
from train.task import TrainingTask
from train.voc import CAR, CAT, DOG, voc_examples

# Pictures to learn from: of the task and again of VOC's that show it, of each other task, and of VOC's that do not.
OWN, OTHERS, EVERYDAY = 300, 120, 500
DISGUISES = ("grey", "two tones", "negative", "detail")


def fit_familiarity(
    training: TrainingTask,
    segmenter: Segmenter,
    parts: Sequence[int],
    val: Sequence[Example],
    root: Path,
    recipe: Recipe,
) -> Familiarity | None:
    """Learn to tell pictures of the task from others; None where these or the network's features are missing.

    For each of the ``parts`` of a description, given by their lengths, logistic regression between training pictures
    of the task, as they are, as training varies them and in grey, and pictures of the other tasks, VOC's pictures
    without what the task looks for, first of all those that show nothing of any, and drawn ones, all as they are and
    disguised. The limit lies below what 98 of 100 validation pictures have by their strictest judge, by a quarter of
    the way from there to what 98 of 100 of the others stay under.
    """
    if not parts:
        return None
    sources = {example.source for example in val}
    own = spread([e for e in training.examples(root, "train", recipe) if e.source in sources], OWN)
    try:
        everyday: dict[str, list[Example]] = {"own": [], "other": [], "nothing": []}
        for example, of_any in zip(
            voc_examples(root, "train", training.voc), voc_examples(root, "train", (CAR, CAT, DOG)), strict=True
        ):
            everyday["own" if shows(example) else "other" if shows(of_any) else "nothing"].append(example)
        own += spread(everyday["own"], OWN)
        others = spread(everyday["nothing"], EVERYDAY)
        others += spread(everyday["other"], EVERYDAY - len(others))
        for name in TASKS:
            if name != training.task.name:
                other: TrainingTask = importlib.import_module(f"train.{name}").TRAINING
                others += spread(other.examples(root, "val", other.recipes["default"]), OTHERS)
    except DataError as error:
        print(f"familiarity is not measured: {error}")
        return None
    known = list(pictures(own))
    positive = descriptions(segmenter, [*known, *restyled(known, recipe), *map(grey, known[::4])])
    strange = [*pictures(others), *drawn()]
    negative = descriptions(segmenter, [*strange, *map(disguised, strange, cycle(DISGUISES))])
    ends = np.cumsum(parts)[:-1]
    sides = (np.split(rows, ends, axis=1) for rows in (positive, negative))
    fitted = [logistic_regression(*part) for part in zip(*sides, strict=True)]

    def shifted(limit: float) -> Familiarity:
        judges = [
            Judge(tuple(round(float(w), 5) for w in weights), round(float(bias - limit), 5)) for weights, bias in fitted
        ]
        return Familiarity(tuple(judges))

    found = shifted(0)
    validation = descriptions(segmenter, pictures(val))
    usual, foreign = (
        np.quantile([found.score(row) for row in rows], share) for rows, share in ((validation, 0.02), (negative, 0.98))
    )
    return shifted(usual - 0.25 * max(0.0, usual - foreign))


def pictures(examples: Iterable[Example]) -> Iterator[np.ndarray]:
    """The images of examples; one that cannot be read is told and left out."""
    for example in examples:
        try:
            yield read_image(example.image)
        except ImageError as error:
            print(f"left out: {error}")


def descriptions(segmenter: Segmenter, images: Iterable[np.ndarray]) -> np.ndarray:
    """Rows (N, F) float64."""
    return np.stack([segmenter.describe(image) for image in images]).astype(np.float64)


def grey(image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) without its colours."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def disguised(image: np.ndarray, disguise: str) -> np.ndarray:
    """An image (H, W, 3) by another look, which makes it no picture of any task: people also upload drawings, scans,
    negatives and details."""
    if disguise == "grey":
        return grey(image)
    if disguise == "two tones":
        light = grey(image)
        return np.where(light > light.mean(), 255, 0).astype(np.uint8)
    if disguise == "negative":
        return 255 - image
    top, left = (3 * length // 8 for length in image.shape[:2])  # a detail, blurred by enlarging it
    detail = Image.fromarray(image[top : -top or None, left : -left or None])
    return np.asarray(detail.resize((256, 256), Image.Resampling.BICUBIC))


def logistic_regression(positive: np.ndarray, negative: np.ndarray, decay: float = 1e-2) -> tuple[np.ndarray, float]:
    """Weights (F,) and bias that tell rows (N, F) of ``positive`` from ``negative``; both sides weigh alike."""
    rows = np.concatenate([positive, negative])
    mean, deviation = rows.mean(0), rows.std(0) + 1e-6
    sides = [torch.from_numpy((side - mean) / deviation) for side in (positive, negative)]
    weights = torch.zeros(rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        wrong = [
            nn.functional.softplus(sign * (side @ weights + bias)).mean()
            for sign, side in zip((-1, 1), sides, strict=True)
        ]
        total = sum(wrong, decay * weights.square().sum())
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    scaled = weights.detach().numpy() / deviation
    return scaled, float(bias.detach()) - float(scaled @ mean)
