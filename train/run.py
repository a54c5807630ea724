"""One training run from the command line to the finished weights; every `python -m train.TASK` ends here."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import lightning as L
import torch

from segmenter.config import CONFIG_FILE, METRICS_FILE, WeightsError
from segmenter.engine import choose_device
from segmenter.networks import count_parameters, save_network
from segmenter.predict import WEIGHTS
from train import report
from train.check import check
from train.data import DataError, data_root
from train.fit import CHECKPOINTS, TENSORBOARD, best_checkpoint, fit, hardware
from train.own import on_own
from train.recipe import Recipe
from train.start import load_teacher, start_network
from train.task import TrainingTask

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")  # lightning's names; its other ones convert only the network


def whole(least: int) -> Callable[[str], int]:
    """What reads a whole number from ``least`` on, for argparse."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return value

    return read


def parse(training: TrainingTask, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m train.{training.task.name}",
        description=f"Train the {training.task.name} model: {training.task.description}",
    )
    parser.add_argument("--data", help="folder that holds pets/ water/ nuclei/ cars/ voc/ (default: $SEGMENTER_DATA)")
    parser.add_argument(
        "--pictures",
        type=Path,
        help="folder of your own images/ and masks/ (see train/own.py), to fit the shipped weights to instead",
    )
    parser.add_argument("--recipe", default="default", choices=sorted(training.recipes))
    parser.add_argument("--epochs", type=whole(1), help="instead of the recipe's")
    parser.add_argument("--batch", type=whole(1), help="instead of the recipe's")
    parser.add_argument("--split", choices=("published", "ancestor"), help="instead of the recipe's")
    parser.add_argument("--limit", type=whole(1), help="use only the first pictures of each split, to try things out")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--devices", default="1", help="how many GPUs, each with a batch of its own, or which: 2, or 0,1 (lightning's)"
    )
    parser.add_argument("--precision", choices=PRECISIONS, help="default: 16 bits where the device is fast at it")
    parser.add_argument("--workers", type=whole(0), default=2, help="processes that read pictures")
    parser.add_argument(
        "--encoder",
        default="imagenet",
        help="imagenet (downloads it), random, or a .safetensors file of one that takes values in [-1, 1]",
    )
    parser.add_argument("--start", type=Path, help="folder of trained weights to go on from, instead of the encoder's")
    parser.add_argument("--teacher", type=Path, help="folder of the recipe's teacher, instead of training it first")
    parser.add_argument("--out", type=Path, help="folder for weights and reports (default: runs/TASK-RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    parser.add_argument("--check", action="store_true", help="read the whole dataset, name what is wrong, and stop")
    parser.add_argument("--download", action="store_true", help="fetch the dataset first where that needs no login")
    return parser.parse_args(arguments)


def main(training: TrainingTask, arguments: Sequence[str] | None = None) -> None:
    """Parse, train, test, write. A user's mistake ends with one sentence and exit code 2."""
    options = parse(training, arguments)
    try:
        run(training, options)
    except (DataError, WeightsError) as error:
        message = str(error)
        if "in DataLoader worker process" in message:  # PyTorch puts the other process's traceback before it
            message = message.rstrip().split("\n")[-1].removeprefix(f"{DataError.__module__}.{DataError.__name__}: ")
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2) from error
    except OSError as error:
        what = f"{str(error.filename)!r}" if error.filename else "a file"
        print(
            f"error: {what} cannot be written or read ({error.strerror or error}); make room or mend it, and run again "
            "with --resume.",
            file=sys.stderr,
        )
        raise SystemExit(2) from error


def run(training: TrainingTask, options: argparse.Namespace) -> Path:
    """Train by the recipe asked for, calibrate, write, evaluate; the folder of the finished weights."""
    name = training.task.name
    if options.pictures:
        refuse_with_pictures(options)
        training, root, kind = on_own(training), options.pictures, "pictures"
        options.start = options.start or WEIGHTS / name
    else:
        root, kind = data_root(options.data), options.recipe
    out: Path = options.out or Path("runs") / f"{name}-{kind}"
    if options.download:
        if not training.downloads:
            raise DataError(f"{name} cannot be downloaded without a login; {training.task.sources[0].url} has it.")
        fetch(training, root)
    if options.check:
        recipe = training.recipes[options.recipe]
        check(training.examples, training.splits, recipe, root)
        return out
    if options.split and training.recipes["ancestor"].split == "published":
        raise DataError(f"{name} has one split only, the published one; leave --split out.")
    if options.teacher and not training.recipes[options.recipe].teacher:
        raise DataError(f"the recipe {options.recipe} of {name} has no teacher; leave --teacher out.")
    unread = f"training goes on from {options.start}" if options.start else ""
    if not unread and training.recipes[options.recipe].init == "random":
        unread = f"the recipe {options.recipe} starts from nothing"
    if unread and options.encoder not in ("imagenet", "random"):
        raise DataError(f"--encoder {options.encoder} would not be read, as {unread}; leave it out.")
    try:
        device = choose_device(options.device)
    except ValueError as error:
        raise DataError(str(error)) from error
    forgetting = partial(forget, training.recipes, options.recipe, out, options.teacher)
    if not train_recipe(training, options.recipe, root, out, options, nothing if options.resume else forgetting):
        return out
    from train.calibrate import calibrate
    from train.evaluate import evaluate_run

    calibrate(training, out, root, device, options.limit, judges=not (options.limit or options.pictures))
    evaluate_run(training, root, out, options)
    return out


def refuse_with_pictures(options: argparse.Namespace) -> None:
    """DataError where an option is given that says nothing of pictures of one's own."""
    usual = {"data": None, "download": False, "recipe": "default", "split": None, "teacher": None}
    given = [f"--{name}" for name, value in usual.items() if getattr(options, name) != value]
    if given:
        raise DataError(f"--pictures takes no {' and no '.join(given)}; leave that out.")


def nothing() -> None:
    """What a resumed run forgets."""


def fetch(training: TrainingTask, root: Path) -> None:
    for download in training.downloads:
        try:
            download(root)
        except (OSError, RuntimeError, ValueError, BadZipFile) as error:  # cut short, or not what its checksum says
            raise DataError(
                f"the download did not finish ({error}); check the network and the disk, and run it again."
            ) from error


def forget(recipes: Mapping[str, Recipe], name: str, out: Path, given: Path | None = None) -> None:
    """Remove what an earlier run left in its folder: a run that is killed before its own first checkpoint must not go
    on from there with ``--resume``, nor may old scores stand beside new weights. A teacher that was ``given`` stays,
    wherever it is."""
    for folder in (CHECKPOINTS, TENSORBOARD):
        shutil.rmtree(out / folder, ignore_errors=True)
    for file in (out / METRICS_FILE, *out.glob("predictions-*.png")):
        file.unlink(missing_ok=True)
    teacher = recipes[name].teacher
    if teacher and not given:
        (out / teacher / CONFIG_FILE).unlink(missing_ok=True)
        forget(recipes, teacher, out / teacher)


def changed(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    """A recipe with what the options have instead of its own."""
    changes = {key: getattr(options, key) for key in ("epochs", "batch", "split") if getattr(options, key)}
    if options.encoder == "random":
        changes["init"] = "random"
    return replace(recipe, **changes)


def train_recipe(
    training: TrainingTask,
    recipe_name: str,
    root: Path,
    out: Path,
    options: argparse.Namespace,
    begin: Callable[[], None],
) -> bool:
    """Train one recipe, and first its teacher, and write the weights into ``out``; ``begin`` is called when all is
    ready for the first of them, so that a slip in the options costs no earlier run.

    True in the process that wrote them: with several GPUs that is one of many.
    """
    name = training.task.name
    recipe = changed(training.recipes[recipe_name], options)
    teacher = None
    if recipe.teacher:
        taught = options.teacher or out / recipe.teacher
        if not options.teacher and not (options.resume and (taught / CONFIG_FILE).is_file()):  # it is written last
            train_recipe(training, recipe.teacher, root, taught, options, begin)
            begin = nothing
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # until the first process has written them
        by = None if options.teacher else changed(training.recipes[recipe.teacher], options)
        teacher = load_teacher(taught, recipe, training.config(recipe), by)

    print(f"{name}, recipe {recipe_name}\n{recipe.lines()}", flush=True)
    L.seed_everything(recipe.seed, workers=True)
    train = training.examples(root, "train", recipe)[: options.limit]
    val = training.examples(root, "val", recipe)[: options.limit]
    training.examples(root, "test", recipe)  # what is missing is told now, not when the training has ended
    if not train or not val:
        raise DataError(
            f"{name} has {len(train)} training and {len(val)} validation pictures below {root}; both are needed."
        )
    config = training.config(recipe)
    network, config = start_network(recipe, config, options.encoder, options.start)
    parameters = f"{count_parameters(network):,} parameters"
    print(f"{len(train)} training and {len(val)} validation pictures, {parameters}", flush=True)

    trainer, module, history = fit(training, recipe, config, network, train, val, out, options, teacher, begin)
    if not trainer.is_global_zero:
        return False
    best = best_checkpoint(trainer)
    state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(state, strict=False)
    minutes = sum(epoch["minutes"] for epoch in history.epochs)
    chosen = history.best()
    metrics = {**chosen, "epochs": len(history.epochs), "minutes": round(minutes, 1), "hardware": hardware(trainer)}
    save_network(module.network, replace(config, metrics=metrics), out)
    report.learning_curves(history.epochs, out / "curves.png", f"{name}, recipe {recipe_name}")
    print(f"weights of epoch {chosen['epoch']} are in {out}, {minutes:.1f} minutes", flush=True)
    return True
