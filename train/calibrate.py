"""What is chosen on validation pictures once a network is trained: `python -m train.calibrate TASK --data DIR`.

  temperature,      divides the logits, and what is added to them for each class, so that confidence says how often a
  offsets           pixel is right (bias-corrected temperature scaling; Alexandari, Kundaje and Shrikumar, ICML 2020)
  rounding          how the decoder computes in 8 bits, where that changes hardly any pixel
  seed_threshold,   where an object's core begins, which objects are specks, and up to which size of its objects a
  min_object,       picture is read enlarged, by AP at 0.5; nuclei only
  zoom_below
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
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from segmenter import Segmentation, Segmenter, WeightsError
from segmenter import metrics as scores
from segmenter.config import Config, save_config
from segmenter.engine import Engine, choose_device, load_engine
from segmenter.inference import Encoder, class_probabilities, map_probabilities, normalise
from segmenter.instances import label_objects
from segmenter.metrics import IGNORE
from segmenter.networks import load_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train.augment import validation_transform
from train.data import DataError, Example, Examples, data_root, spread
from train.familiarity import fit_familiarity
from train.recipe import Recipe
from train.rounding import chosen_rounding
from train.task import TrainingTask

PIXELS = 4000  # drawn from each validation picture to find temperature and offsets
ROUNDED = 80  # validation pictures that tell how the decoder rounds to 8 bits, half of them, and judge it
SEED_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
MIN_OBJECTS = (10, 20, 30, 40)
ZOOM_LIMITS = (0.0, 200.0, 400.0, 800.0, 1600.0)
WORTH = 0.005  # AP that a higher limit must gain, for to read a picture enlarged takes some three times as long


def calibrate(
    training: TrainingTask, folder: Path, root: Path, device: str, limit: int | None = None, judges: bool = True
) -> None:
    """Choose everything above for the weights in ``folder``, write it into their config and print it; with a
    ``limit``, from so many validation pictures. ``judges`` of strange ones are learnt from thousands, in ``root``."""
    network, config = load_network(folder)
    recipe = Recipe.of(config.recipe)
    val = training.examples(root, "val", recipe)[:limit]
    config = fit_confidence(training, network, config, val, recipe, device)
    transform = validation_transform(recipe, config.input_policy, training.to_network_target)
    windows = Examples(spread(val, ROUNDED), transform)
    seen = [(image, target != IGNORE) for image, target in (windows[number] for number in range(len(windows)))]
    rounding = chosen_rounding(network.cpu(), config, [image for image, _ in seen[::2]], seen[1::2] or seen)
    config = replace(config, rounding=rounding)
    save_config(config, folder)
    engine, _ = load_engine(folder, device)
    if training.task.has_objects and config.seed_map is not None:
        if config.input_policy == "tile":  # no other reads a picture enlarged
            enlarged = replace(config, zoom_below=np.inf, min_object=MIN_OBJECTS[0])
            config = choose_zoom(training, engine, choose_seeds(training, engine, enlarged, val), val)
        config = choose_seeds(training, engine, config, val)
    familiarity = config.familiarity  # of these weights, where it was measured before
    if judges:
        segmenter, parts = Segmenter(training.task, engine, config), Encoder(network, config).parts
        familiarity = fit_familiarity(training, segmenter, parts, val, root, recipe) or familiarity
    print(f"temperature {config.temperature}, offsets {config.offsets}")
    print(f"familiarity {'known' if familiarity else 'not known'}")
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
    for threshold in SEED_THRESHOLDS:
        pairs = list(predicted(training, engine, replace(config, seed_threshold=threshold), val))
        for size in MIN_OBJECTS:
            precision = precision_of((labels, label_objects(r.class_ids > 0, r.seeds, size)) for labels, r in pairs)
            print(f"seeds above {threshold}, objects from {size} pixels: AP {precision:.4f} on validation", flush=True)
            found.append((precision, replace(config, seed_threshold=threshold, min_object=size)))
    return max(found, key=lambda candidate: candidate[0])[1]


def choose_zoom(training: TrainingTask, engine: Engine, config: Config, val: Sequence[Example]) -> Config:
    """The config with the limit below which pictures are read enlarged: the lowest from which on no higher one gains
    what it is worth in AP at 0.5 on ``val``."""
    found: dict[float, float] = {}
    for limit in ZOOM_LIMITS:
        pairs = predicted(training, engine, replace(config, zoom_below=limit), val)
        found[limit] = precision_of((labels, result.instances()) for labels, result in pairs)
        print(f"enlarged below {limit:g} pixels: AP {found[limit]:.4f} on validation", flush=True)
    best = max(found.values())
    return replace(config, zoom_below=next(limit for limit, value in found.items() if value > best - WORTH))


def predicted(
    training: TrainingTask, engine: Engine, config: Config, val: Sequence[Example]
) -> Iterator[tuple[np.ndarray, Segmentation]]:
    """The true labels of each example and what is found in it."""
    truth = [example.read() for example in val]
    results = Segmenter(training.task, engine, config).predict_many(image for image, _ in truth)
    return zip((labels for _, labels in truth), results, strict=True)


def precision_of(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """AP at 0.5 over pairs of true and found labels."""
    return scores.average_precision([scores.object_matches(labels, found) for labels, found in pairs])[0.5]


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
        calibrate(training, folder, data_root(options.data), choose_device(options.device))
    except (DataError, WeightsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
