"""What is chosen on validation pictures once a network is trained: `python -m train.calibrate TASK --data DIR`.

  temperature,      divides the logits, and what is added to them for each class, so that confidence says how often a
  offsets           pixel is right (bias-corrected temperature scaling; Alexandari, Kundaje and Shrikumar, ICML 2020)
  rounding          how the decoder computes in 8 bits, where that changes hardly any pixel
  seed_threshold,   where an object's core begins and which objects are specks, by AP at 0.5; nuclei only
  min_object
  familiarity       linear judges of the encoder's features, between pictures of this task and of others

Every training run ends with it. The command does it again for finished weights and writes their config.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from scipy.optimize import minimize
from torch import Tensor, nn

from segmenter import Segmenter, WeightsError
from segmenter import metrics as scores
from segmenter.config import Config, Familiarity, Judge, save_config
from segmenter.engine import Engine, load_engine
from segmenter.image import ImageError, read_image
from segmenter.inference import Encoder, class_probabilities, map_probabilities, normalise
from segmenter.instances import label_objects
from segmenter.networks import load_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train.augment import restyled, validation_transform
from train.data import IGNORE, DataError, Example, Examples, data_root, shows, spread
from train.fit import TrainingTask
from train.recipe import Recipe
from train.rounding import chosen_rounding
from train.voc import voc_examples

PAPER, INK = (235, 230, 220), (30, 28, 35)
DISGUISES = ("grey", "two tones", "negative", "detail")
PIXELS = 4000  # drawn from each validation picture to find temperature and offsets
# Pictures that familiarity is learnt from: of the task and again of VOC's that show it, of each other task, and of
# VOC's that do not.
OWN, OTHERS, EVERYDAY = 300, 120, 500
ROUNDED = 40  # validation pictures that tell how the decoder rounds to 8 bits
SEED_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
MIN_OBJECTS = (10, 20, 30)


def calibrate(training: TrainingTask, folder: Path, root: Path, device: str) -> None:
    """Choose everything above for the weights in ``folder``, write it into their config and print it."""
    network, config = load_network(folder)
    recipe = Recipe(**config.recipe)
    val = training.examples(root, "val", recipe)
    config = fit_confidence(training, network, config, val, recipe, device)
    windows = Examples(spread(val, ROUNDED), validation_transform(recipe, config.input_policy))
    rounding = chosen_rounding(network.cpu(), config, [windows[number][0] for number in range(len(windows))])
    config = replace(config, rounding=rounding)
    save_config(config, folder)
    engine, _ = load_engine(folder, device)
    if training.task.has_objects and config.seed_map is not None:
        config = choose_seeds(training, engine, config, val)
    parts = Encoder(network, config).parts
    familiarity = fit_familiarity(training, Segmenter(training.task, engine, config), parts, val, root, recipe)
    print(f"temperature {config.temperature}, offsets {config.offsets}")
    print(f"familiarity {'measured' if familiarity else 'not measured'}")
    save_config(replace(config, familiarity=familiarity), folder)


def fit_confidence(
    training: TrainingTask,
    network: nn.Module,
    config: Config,
    val: Sequence[Example],
    recipe: Recipe,
    device: str = "cpu",
) -> Config:
    """The config with the temperature in [0.3, 3] and the offsets in [-2, 2], that of background 0, of the least
    cross-entropy over pixels of the validation pictures, each dataset weighing alike."""
    transform = validation_transform(recipe, config.input_policy, training.to_network_target)
    class_of_map = torch.tensor(config.network_classes)
    generator = torch.Generator().manual_seed(recipe.seed)
    logits, targets, weights = [], [], []
    pictures = Examples(val, transform)
    pictures_of = Counter(example.source for example in val)
    for example, (image, target) in zip(val, (pictures[i] for i in range(len(val))), strict=True):
        known = (target != IGNORE).flatten().nonzero()[:, 0]
        if not len(known):
            continue
        drawn = known[torch.randint(len(known), (PIXELS,), generator=generator)]
        with torch.inference_mode():
            found = network.to(device)(normalise(image[None].to(device), config.mean, config.std))[0]
        logits.append(found.float().cpu().flatten(1)[:, drawn])
        targets.append(class_of_map[target.flatten()[drawn]])
        weights.append(torch.full((PIXELS,), 1 / pictures_of[example.source]))
    pixels, true, weight = torch.cat(logits, dim=1)[None, :, :, None], torch.cat(targets), torch.cat(weights)

    def scaled_by(found: np.ndarray) -> Config:
        temperature, *offsets = (round(float(value), 4) for value in (np.exp(found[0]), *found[1:]))
        return replace(config, temperature=temperature, offsets=(0.0, *offsets))

    def cross_entropy(found: np.ndarray) -> float:
        scaled = scaled_by(found)
        probabilities = class_probabilities(map_probabilities(pixels, scaled), scaled)[0, :, :, 0]
        surprise = -probabilities.clamp(min=1e-7).log().gather(0, true[None])[0]
        return float((surprise * weight).sum() / weight.sum())

    start = np.zeros(len(config.classes))
    bounds = [(np.log(0.3), np.log(3.0)), *[(-2.0, 2.0)] * (len(start) - 1)]
    return scaled_by(minimize(cross_entropy, start, method="Powell", bounds=bounds).x)


def choose_seeds(training: TrainingTask, engine: Engine, config: Config, val: Sequence[Example]) -> Config:
    """The config with the seed threshold and the smallest object of the best AP at 0.5 on ``val``."""
    found: list[tuple[float, Config]] = []
    truth = [example.read() for example in val]
    for threshold in SEED_THRESHOLDS:
        segmenter = Segmenter(training.task, engine, replace(config, seed_threshold=threshold))
        results = list(segmenter.predict_many(image for image, _ in truth))
        for size in MIN_OBJECTS:
            matches = [
                scores.object_matches(labels, label_objects(result.class_ids > 0, result.seeds, size))
                for (_, labels), result in zip(truth, results, strict=True)
            ]
            precision = scores.average_precision(matches)[0.5]
            print(f"seeds above {threshold}, objects from {size} pixels: AP {precision:.4f} on validation")
            found.append((precision, replace(segmenter.config, min_object=size)))
    return max(found, key=lambda candidate: candidate[0])[1]


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
    without what the task looks for, and drawn ones, all as they are and disguised. The limit lies below what 98 of 100
    validation pictures have by their strictest judge, by a quarter of the way from there to what 98 of 100 of the
    others stay under.
    """
    if not parts:
        return None
    sources = {example.source for example in val}
    own = spread([e for e in training.examples(root, "train", recipe) if e.source in sources], OWN)
    try:
        everyday: tuple[list[Example], list[Example]] = ([], [])
        for example in voc_examples(root, "train", training.voc):
            everyday[shows(example)].append(example)
        own += spread(everyday[True], OWN)
        others = spread(everyday[False], EVERYDAY)
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


def drawn() -> Iterator[np.ndarray]:
    """Pictures of no task: flat colours, gradients, stripes, boards, noise, shaded balls and text, of 256x256 or
    512x512 pixels, (H, W, 3) uint8."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256] / 255
    for size in (4, 6, 9, 12, 16, 24, 33):
        low, high = rng.integers(0, 256, (2, 3))
        balls = np.zeros((256, 256))
        for row, column, radius in rng.uniform((0, 0, 0.1), (1, 1, 0.5), (max(1, 40 // size), 3)):
            height = 1 - ((y - row) ** 2 + (x - column) ** 2) / radius**2
            balls = np.maximum(balls, height.clip(0) ** 0.5 * rng.uniform(0.7, 1, (256, 256)))
        for share in (
            np.full_like(x, 0.5),
            x * rng.random() + y * rng.random(),
            (x * 256 // size) % 2,
            (x * 256 // size + y * 256 // size) % 2,
            rng.random((256, 256)),
            np.kron(rng.random((256 // size + 1,) * 2), np.ones((size, size)))[:256, :256],
            balls,
        ):
            yield (low + share.clip(0, 1)[..., None] * (high - low)).astype(np.uint8)
        yield (balls * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        for paper, ink in ((high.tolist(), low.tolist()), (PAPER, INK), (INK, PAPER), ([255] * 3, [0] * 3)):
            page = Image.new("RGB", (512, 512), tuple(paper))
            for line in range(6, 508, size + 8):
                letters = np.where(rng.random(90) < 0.17, " ", [chr(code) for code in rng.integers(97, 123, 90)])
                ImageDraw.Draw(page).text((8, line), "".join(letters), tuple(ink), font_size=size + 6)
            yield np.asarray(page)


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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.calibrate", description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", help="folder that holds pets/ water/ nuclei/ cars/ voc/ (default: $SEGMENTER_DATA)")
    parser.add_argument("--weights", type=Path, help="folder of weights (default: weights/TASK)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    training: TrainingTask = importlib.import_module(f"train.{options.task}").TRAINING
    folder = options.weights or WEIGHTS / options.task
    try:
        calibrate(training, folder, data_root(options.data), options.device)
    except (DataError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
