"""One training run from the command line to the finished weights; every `python -m train.TASK` ends here."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader

from segmenter.config import WEIGHTS_FILE, Config, WeightsError
from segmenter.engine import choose_device
from segmenter.networks import count_parameters, load_network, save_network
from segmenter.tasks import Task
from train import report
from train.augment import training_transform, validation_transform
from train.check import check
from train.checkpoint import WholeCheckpoints
from train.data import DataError, EpochShuffle, Example, Examples, collate, data_root
from train.module import SegmentationModule
from train.recipe import Recipe
from train.start import average, start_network

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class TrainingTask:
    """A task with what is needed to train it.

    ``examples(root, split, recipe)`` lists a split. ``to_network_target`` and ``to_class_ids`` turn what
    an example reads into the class ids of the network's maps and of the task, where the two differ from it;
    ``network_classes`` is ``Config.network_classes`` then. ``ignored`` tells from an image (H, W, 3) where
    its truth means nothing, bool (H, W). ``voc`` are the Pascal VOC ids that show what the task looks for.
    """

    task: Task
    examples: Callable[[Path, str, Recipe], list[Example]]
    recipes: dict[str, Recipe]
    splits: tuple[str, ...] = ("train", "val", "test")
    downloads: tuple[Callable[[Path], None], ...] = ()
    to_class_ids: Callable[[np.ndarray], np.ndarray] | None = None
    to_network_target: Callable[[np.ndarray], np.ndarray] | None = None
    network_classes: tuple[int, ...] | None = None
    ignored: Callable[[np.ndarray], np.ndarray] | None = None
    voc: tuple[int, ...] = ()

    def class_ids(self, target: np.ndarray) -> np.ndarray:
        """What an example reads, as the task's class ids (H, W)."""
        return target if self.to_class_ids is None else self.to_class_ids(target)

    def config(self, recipe: Recipe) -> Config:
        maps = self.network_classes or tuple(range(len(self.task.classes)))
        return Config(
            task=self.task.name,
            network={**recipe.network, "classes": len(maps)},
            classes=self.task.class_names,
            network_classes=maps,
            input_policy="stretch" if recipe.stretch else self.task.input_policy,
            size=recipe.size,
            overlap=recipe.overlap,
            auto_contrast=recipe.auto_contrast,
            recipe=asdict(recipe),
        )


def parse(training: TrainingTask, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"python -m train.{training.task.name}",
        description=f"Train the {training.task.name} model: {training.task.description}",
    )
    parser.add_argument("--data", help="folder that holds pets/ water/ nuclei/ cars/ voc/ (default: $SEGMENTER_DATA)")
    parser.add_argument("--recipe", default="default", choices=sorted(training.recipes))
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--batch", type=int, help="instead of the recipe's")
    parser.add_argument("--split", choices=("published", "ancestor"), help="instead of the recipe's")
    parser.add_argument("--limit", type=int, help="use only the first pictures of each split, to try things out")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--devices", default="auto", help="how many GPUs, or which: 2, or 0,1 (lightning's option)")
    parser.add_argument("--precision", help="lightning's option (default: 16 bits where the device is fast at it)")
    parser.add_argument("--workers", type=int, default=2, help="processes that read pictures")
    parser.add_argument(
        "--encoder",
        default="imagenet",
        help="imagenet (downloads it), random, or a .safetensors file of one that takes values in [-1, 1]",
    )
    parser.add_argument("--start", type=Path, help="folder of trained weights to go on from, instead of the encoder's")
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
    root = data_root(options.data)
    out: Path = options.out or Path("runs") / f"{name}-{options.recipe}"
    if options.download:
        if not training.downloads:
            raise DataError(f"{name} cannot be downloaded without a login; {training.task.sources[0].url} has it.")
        fetch(training, root)
    if options.check:
        recipe = training.recipes[options.recipe]
        check(training.examples, training.splits, recipe, root, training.class_ids, len(training.task.classes))
        return out
    if options.split and training.recipes["ancestor"].split == "published":
        raise DataError(f"{name} has one split only, the published one; leave --split out.")
    try:
        device = choose_device(options.device)
    except ValueError as error:
        raise DataError(str(error)) from error
    if not options.resume:
        forget(training.recipes, options.recipe, out, options.start)
    if not train_recipe(training, options.recipe, options.start, root, out, options):
        return out
    from train.calibrate import calibrate
    from train.evaluate import evaluate_run

    calibrate(training, out, root, device, options.limit)
    evaluate_run(training, root, out, options)
    return out


def forget(recipes: Mapping[str, Recipe], name: str, out: Path, given: Path | None = None) -> None:
    """Remove what an earlier run left in its folder for ``--resume``: a run that is killed before its own first
    checkpoint must not go on from there. Weights to start from that were ``given`` stay, wherever they are."""
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    start = recipes[name].start
    if start and not given:
        (out / start / WEIGHTS_FILE).unlink(missing_ok=True)
        forget(recipes, start, out / start)


def train_recipe(
    training: TrainingTask, recipe_name: str, start: Path | None, root: Path, out: Path, options: argparse.Namespace
) -> bool:
    """Train one recipe, and first the one that it starts from, and write the weights into ``out``.

    True in the process that wrote them: with several GPUs that is one of many.
    """
    name = training.task.name
    recipe = training.recipes[recipe_name]
    changes = {key: getattr(options, key) for key in ("epochs", "batch", "split") if getattr(options, key)}
    if options.encoder == "random":
        changes["init"] = "random"
    recipe = replace(recipe, **changes)
    if recipe.start and not start:
        start = out / recipe.start
        if not (options.resume and (start / WEIGHTS_FILE).is_file()):
            train_recipe(training, recipe.start, None, root, start, options)
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # until the first process has written them

    print(f"{name}, recipe {recipe_name}\n{recipe.lines()}", flush=True)
    L.seed_everything(recipe.seed, workers=True)
    train = training.examples(root, "train", recipe)[: options.limit]
    val = training.examples(root, "val", recipe)[: options.limit]
    if not train or not val:
        raise DataError(
            f"{name} has {len(train)} training and {len(val)} validation pictures below {root}; both are needed."
        )
    config = training.config(recipe)
    network, config = start_network(recipe, config, options.encoder, start)
    parameters = f"{count_parameters(network):,} parameters"
    print(f"{len(train)} training and {len(val)} validation pictures, {parameters}", flush=True)

    trainer, module, history = fit(training, recipe, config, network, train, val, out, options)
    if not trainer.is_global_zero:
        return False
    best = best_checkpoint(trainer)
    state = torch.load(best, map_location="cpu", weights_only=False)["state_dict"]
    module.load_state_dict(state, strict=False)
    if start and recipe.start_share:
        average(module.network, load_network(start)[0], recipe.start_share)
    minutes = sum(epoch["minutes"] for epoch in history.epochs)
    chosen = history.best()
    metrics = {**chosen, "epochs": len(history.epochs), "minutes": round(minutes, 1)}
    save_network(module.network, replace(config, metrics=metrics), out)
    report.learning_curves(history.epochs, out / "curves.png", f"{name}, recipe {recipe_name}")
    print(f"weights of epoch {chosen['epoch']} are in {out}, {minutes:.1f} minutes", flush=True)
    return True


def fetch(training: TrainingTask, root: Path) -> None:
    for download in training.downloads:
        try:
            download(root)
        except (OSError, RuntimeError, BadZipFile) as error:  # cut short, or not what its checksum says
            raise DataError(f"the download did not finish ({error}); check the network and run it again.") from error


def fit(
    training: TrainingTask,
    recipe: Recipe,
    config: Config,
    network: nn.Module,
    train: list[Example],
    val: list[Example],
    out: Path,
    options: argparse.Namespace,
) -> tuple[L.Trainer, SegmentationModule, report.History]:
    policy = config.input_policy
    to_target = training.to_network_target
    loading = {
        "batch_size": recipe.batch,
        "num_workers": options.workers,
        "persistent_workers": options.workers > 0,
        "collate_fn": collate,
        "pin_memory": torch.cuda.is_available(),
    }
    training_set = Examples(train, training_transform(recipe, policy, to_target), recipe.repeat, recipe.seed)
    validation_set = Examples(val, validation_transform(recipe, policy, to_target))
    order = EpochShuffle(len(training_set), recipe.seed)
    train_loader = DataLoader(training_set, sampler=order, drop_last=len(training_set) >= recipe.batch, **loading)
    val_loader = DataLoader(validation_set, **loading)

    module = SegmentationModule(network, recipe, config, [example.name for example in train])
    history = report.History()
    # After the history has the epoch; the best first, for the last one to know of it.
    keep = partial(ModelCheckpoint, out / CHECKPOINTS, enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [
        history,
        keep("best", monitor="val_mean_iou", mode="max"),
        keep("last"),
        report.PredictionSheets(training.task, val, config, training.class_ids),
        TQDMProgressBar(refresh_rate=10),
    ]
    if recipe.patience:
        callbacks.append(StopsOnce("val_loss", patience=recipe.patience))
    trainer = L.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[options.device],
        devices=options.devices if options.device != "cpu" else 1,
        precision=options.precision or default_precision(options.device),
        max_epochs=recipe.epochs,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=TensorBoardLogger(out / "tensorboard", name="", version=""),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    last = out / CHECKPOINTS / "last.ckpt"
    if options.resume and not last.is_file() and not recipe.start:
        raise DataError(f"there is no {last} to resume from; start without --resume.")
    checkpoint = str(last) if options.resume and last.is_file() else None
    trainer.fit(module, train_loader, val_loader, ckpt_path=checkpoint, weights_only=False)
    return trainer, module, history


class StopsOnce(EarlyStopping):
    """Early stopping that a resumed run remembers; lightning's would train one epoch more."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = self.stopped_epoch > 0


def default_precision(device: str) -> Any:
    """Mixed precision in the 16-bit format that the device computes natively; 32 bits on a CPU without one."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def best_checkpoint(trainer: L.Trainer) -> str:
    callback = trainer.checkpoint_callback
    assert isinstance(callback, ModelCheckpoint)
    return callback.best_model_path
