"""A network, pictures and a recipe -> the trained network, with checkpoints, curves and sheets on the way."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from segmenter.config import Config
from segmenter.threads import usable_cpus
from train import report
from train.augment import training_transform, validation_transform
from train.checkpoint import Kept, WholeCheckpoints
from train.data import DataError, EpochShuffle, Example, Examples, collate
from train.module import SegmentationModule
from train.recipe import Recipe
from train.task import TrainingTask

CHECKPOINTS, TENSORBOARD = "checkpoints", "tensorboard"


def fit(
    training: TrainingTask,
    recipe: Recipe,
    config: Config,
    network: nn.Module,
    train: list[Example],
    val: list[Example],
    out: Path,
    options: argparse.Namespace,
    teacher: tuple[nn.Module, Config] | None,
    begin: Callable[[], None],
) -> tuple[L.Trainer, SegmentationModule, report.History]:
    """The trainer, what it trained and its history; ``begin`` is called when all is ready. DataError for devices that
    lightning does not take, and where there is nothing to resume from."""
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

    module = SegmentationModule(network, recipe, config, [example.name for example in train], teacher)
    history = report.History()
    # After the history has the epoch; the best first, for the last one to know of it.
    keep = partial(Kept, out / CHECKPOINTS, enable_version_counter=False, save_on_train_epoch_end=True)
    callbacks: list[Callback] = [
        history,
        keep("best", monitor="val_mean_iou", mode="max"),
        keep("last"),
        report.PredictionSheets(training.task, val, config, training.class_ids),
        TQDMProgressBar(refresh_rate=10),
    ]
    cuda = options.device != "cpu" and torch.cuda.is_available()
    if recipe.ema:
        # The place is named, since lightning makes the mean before it moves the network there.
        callbacks.append(WeightAveraging("cuda" if cuda else "cpu", multi_avg_fn=partial(running_mean, recipe.ema)))
    if recipe.patience:
        callbacks.append(StopsOnce("val_loss", patience=recipe.patience))
    try:
        trainer = L.Trainer(
            accelerator="gpu" if cuda else "cpu",
            devices=options.devices if cuda else 1,
            precision=options.precision or default_precision(options.device),
            max_epochs=recipe.epochs,
            callbacks=callbacks,
            plugins=[WholeCheckpoints()],
            logger=TensorBoardLogger(out / TENSORBOARD, name="", version=""),
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (ValueError, MisconfigurationException) as error:
        said = " ".join(str(error).split())
        raise DataError(f"lightning takes no such --devices ({said}); give others.") from error
    module.begun["devices"] = trainer.world_size  # each has a batch of its own, so they decide how many steps there are
    last = out / CHECKPOINTS / "last.ckpt"
    if options.resume and not last.is_file() and (options.teacher or not recipe.teacher):
        raise DataError(f"there is no {last} to resume from; start without --resume.")
    checkpoint = str(last) if options.resume and last.is_file() else None
    begin()
    trainer.fit(module, train_loader, val_loader, ckpt_path=checkpoint, weights_only=False)
    return trainer, module, history


@torch.no_grad()
def running_mean(kept: float, means: list[Tensor], values: list[Tensor], count: Tensor) -> None:
    """Move weights and statistics towards those of a step, the ``count``-th after the first. Early ones keep less than
    ``kept``, as TensorFlow's ExponentialMovingAverage has it, for a short run not to end with what it began with."""
    if means[0].is_floating_point():
        share = 1 - ((1 + count) / (10 + count)).clamp(max=kept)  # a tensor: nothing waits for the GPU to tell it
        ways = torch._foreach_sub(values, means)
        torch._foreach_mul_(ways, share)
        torch._foreach_add_(means, ways)
    else:  # counters, which PyTorch's own would round down
        torch._foreach_copy_(means, values)


class StopsOnce(EarlyStopping):
    """Early stopping that a resumed run remembers; lightning's would train one epoch more."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.should_stop = self.stopped_epoch > 0


def default_precision(device: str) -> Any:
    """Mixed precision in the 16-bit format that the device computes natively; 32 bits on a CPU without one."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "bf16-mixed" if torch.cpu._is_avx512_bf16_supported() else "32-true"


def hardware(trainer: L.Trainer) -> str:
    """What a run was trained on, in words."""
    if isinstance(trainer.accelerator, CUDAAccelerator):
        return f"{trainer.num_devices} {torch.cuda.get_device_name()}"
    return f"{usable_cpus()} CPU cores"


def best_checkpoint(trainer: L.Trainer) -> str:
    callback = trainer.checkpoint_callback
    assert isinstance(callback, ModelCheckpoint)
    return callback.best_model_path
