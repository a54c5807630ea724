"""Score weights on a split: `python -m train.evaluate TASK --data DIR [--split test] [--weights DIR]`.

Prints the scores and writes them into ``metrics.json`` beside the weights, one entry a split. Nothing
else writes a score; the README and the page read them from there.

Every picture goes through ``Segmenter`` as a user's would.
  own_size            predicted and true mask are compared at the picture's own size
  ancestor_protocol   both masks are first brought to 128x128 by nearest neighbour, as the ancestors score
  small_picture       the picture too is scaled to 128x128, so that the model sees no more than the ancestors saw
  unfamiliar          the share of test pictures, its own and the other tasks', said not to be of the model's kind
With ``--sheets DIR`` the 20 best, 20 middle and 20 worst pictures are drawn.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segmenter import Segmentation, Segmenter, WeightsError
from segmenter import metrics as scores
from segmenter.config import METRICS_FILE
from segmenter.files import write_whole
from segmenter.fitting import pick_nearest
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from train import report
from train.data import DataError, Example, data_root, different, spread
from train.familiarity import pictures
from train.own import on_own
from train.recipe import Recipe
from train.scores import Scores, reliability_diagram, table
from train.task import TrainingTask

ANCESTOR_SIZE = 128
SHEET = 50  # pictures on a sheet of predictions
EXTREMES = 20  # pictures on a sheet of the best, the middle or the worst
OTHERS = 100  # test pictures of each other task

Pair = tuple[np.ndarray, np.ndarray]


def evaluate(training: TrainingTask, segmenter: Segmenter, examples: Sequence[Example]) -> dict[str, Any]:
    """Every block of scores for a list of examples; see the module's docstring for what each one is."""
    found: dict[str, Any] = {}
    own, ancestor, small = (Scores(training) for _ in range(3))
    for example, target, result in predictions(segmenter, examples, Example.read):
        class_ids = training.class_ids(target)
        matches = scores.object_matches(target, result.instances()) if training.task.has_objects else None
        own.add(example.source, class_ids, result.image, result.class_ids, matches, result.confidence)
        ancestor.add(example.source, shrink(class_ids), shrink(result.image), shrink(result.class_ids))
    for example, target, result in predictions(segmenter, examples, read_small):
        small.add(example.source, training.class_ids(target), result.image, result.class_ids)
    for name, scores_of_block in (("own_size", own), ("ancestor_protocol", ancestor), ("small_picture", small)):
        found |= scores_of_block.report(name)
    return found


def predictions(
    segmenter: Segmenter, examples: Sequence[Example], read: Callable[[Example], Pair]
) -> Iterator[tuple[Example, np.ndarray, Segmentation]]:
    """Read, predict in batches, and give back each example with its target and result."""
    targets: list[np.ndarray] = []

    def images() -> Iterator[np.ndarray]:
        for example in examples:
            image, target = read(example)
            targets.append(target)
            yield image

    for example, result in zip(examples, segmenter.predict_many(images()), strict=True):
        yield example, targets.pop(0), result


def shrink(array: np.ndarray) -> np.ndarray:
    """Class ids or labels (H, W), or an image (H, W, 3), at the ancestors' 128x128: nearest neighbour, aspect lost."""
    return pick_nearest(array, ANCESTOR_SIZE, ANCESTOR_SIZE)


def read_small(example: Example) -> Pair:
    """Picture (bilinear) and target (nearest) at 128x128."""
    image, target = example.read()
    small = Image.fromarray(image).resize((ANCESTOR_SIZE, ANCESTOR_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(small), shrink(target)


def unfamiliar(segmenter: Segmenter, root: Path) -> dict[str, dict[str, float]]:
    """The share of each task's test pictures that the model says are not of its kind, as a block of scores; of those
    tasks whose pictures are there."""
    if segmenter.config.familiarity is None:
        return {}
    found = {}
    for name in TASKS:
        training: TrainingTask = importlib.import_module(f"train.{name}").TRAINING
        try:
            own = name == segmenter.task.name
            examples = training.examples(root, "test", run_recipe(segmenter) if own else training.recipes["default"])
        except DataError as error:
            print(f"strange pictures of {name} are not measured: {error}", file=sys.stderr)
            continue
        images = pictures(examples if own else spread(examples, OTHERS))
        flagged = [(segmenter.familiarity(image) or 0) < 0 for image in images]
        if flagged:
            found[f"flagged {name}"] = round(float(np.mean(flagged)), 4)
    return {"unfamiliar": found}


def sheets(training: TrainingTask, segmenter: Segmenter, examples: Sequence[Example], folder: Path) -> None:
    """Draw best.png, middle.png and worst.png, by the mean IoU of each picture, best first."""
    ious = []
    for _, target, result in predictions(segmenter, examples, Example.read):
        confusion = scores.confusion_matrix(training.class_ids(target), result.class_ids, len(training.task.classes))
        ious.append(scores.iou_per_class(confusion).mean())
    order = np.argsort(ious)[::-1]
    middle = max(0, len(order) // 2 - EXTREMES // 2)
    folder.mkdir(parents=True, exist_ok=True)
    for name, first in (("best", 0), ("middle", middle), ("worst", max(0, len(order) - EXTREMES))):
        chosen = [examples[i] for i in order[first : first + EXTREMES]]
        report.prediction_sheet(segmenter, chosen, training.class_ids).save(folder / f"{name}.png")


def write_metrics(folder: Path, split: str, found: dict[str, Any]) -> None:
    """Put a split's scores into the folder's metrics.json, the other splits left as they are."""
    path = folder / METRICS_FILE
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known[split] = found
    write_whole(path, (json.dumps(known, indent=2) + "\n").encode())


def evaluate_run(training: TrainingTask, root: Path, folder: Path, options: argparse.Namespace) -> None:
    """What ends a training run: test scores, metrics.json and sheets of train and test predictions."""
    segmenter = Segmenter.load(training.task, folder, options.device)
    recipe = run_recipe(segmenter)
    for split in ("test", "train"):
        examples = different(training.examples(root, split, recipe))[: options.limit]
        if not examples:
            print(f"the split {split} holds no picture: nothing is measured on it", flush=True)
            continue
        if split == "test":
            found = evaluate(training, segmenter, examples)
            if options.limit is None:
                found |= unfamiliar(segmenter, root)
            write_metrics(folder, split, found)
            show(training.task.name, split, found)
            print(f"scores are in {folder / METRICS_FILE}", flush=True)
        report.prediction_sheet(segmenter, examples[:SHEET], training.class_ids).save(
            folder / f"predictions-{split}.png"
        )
    print(f"predictions in sequence are in {folder}/predictions-*.png", flush=True)


def show(task: str, split: str, found: dict[str, Any]) -> None:
    print(f"{task}, {split}\n{table(found)}\n")
    print(reliability_diagram(found["own_size"]["reliability"]), flush=True)


def run_recipe(segmenter: Segmenter) -> Recipe:
    """The recipe that the weights were trained by, as it stands in their config."""
    return Recipe.of(segmenter.config.recipe)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m train.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("--data", help="folder that holds pets/ water/ nuclei/ cars/ voc/ (default: $SEGMENTER_DATA)")
    parser.add_argument("--pictures", type=Path, help="folder of your own (see train/own.py); nothing is written then")
    parser.add_argument("--split", default="test", help="test, val, train, and per task stage1_test or voc")
    parser.add_argument("--weights", type=Path, help="folder of weights (default: weights/TASK)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sheets", type=Path, help="draw the best, middle and worst pictures into this folder")
    parser.add_argument("--limit", type=int, help="score only the first pictures; nothing is written then")
    parser.add_argument("--flips", action="store_true", help="average over mirrored pictures; nothing is written then")
    options = parser.parse_args(arguments)
    training: TrainingTask = importlib.import_module(f"train.{options.task}").TRAINING
    folder = options.weights or WEIGHTS / options.task
    if options.pictures:
        training = on_own(training)
    whole = options.limit is None and not options.pictures  # all that a split of the datasets holds
    try:
        if options.split not in training.splits:
            raise DataError(f"{options.task} has no split {options.split!r}; it has {', '.join(training.splits)}.")
        segmenter = Segmenter.load(options.task, folder, options.device, flips=options.flips)
        root = options.pictures or data_root(options.data)
        examples = different(training.examples(root, options.split, run_recipe(segmenter)))[: options.limit]
        if not examples:
            raise DataError(f"the split {options.split} of {options.task} holds no picture.")
        found = evaluate(training, segmenter, examples)
        if options.split == "test" and whole:
            found |= unfamiliar(segmenter, root)
    except (DataError, WeightsError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    show(options.task, options.split, found)
    if options.sheets:
        sheets(training, segmenter, examples, options.sheets)
    if whole and not options.flips:
        write_metrics(folder, options.split, found)


if __name__ == "__main__":
    main()
