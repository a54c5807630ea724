"""What a run shows: its history, learning curves, and sheets of image, true mask and predicted mask."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from segmenter.config import Config
from segmenter.draw import colour_mask
from segmenter.engine_torch import TorchEngine
from segmenter.predict import Segmenter
from segmenter.tasks import Task
from train.data import Example

ClassIds = Callable[[np.ndarray], np.ndarray]

CELL = 160  # pixels a picture takes on a sheet


class History(Callback):
    """The scores of every epoch and its minutes; survives in the checkpoint, so that those of a resumed run are
    whole."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self._began = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._began = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        scores = {name: float(value) for name, value in trainer.callback_metrics.items()}
        minutes = (time.monotonic() - self._began) / 60
        self.epochs.append({"epoch": trainer.current_epoch, "minutes": minutes, **scores})
        line = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        print(f"\nepoch {trainer.current_epoch}: {line}", flush=True)

    def best(self) -> dict[str, float]:
        return max(self.epochs, key=lambda scores: scores["val_mean_iou"])

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epochs = list(state_dict["epochs"])


class PredictionSheets(Callback):
    """After every epoch: image, true mask and predicted mask of a few validation pictures, to TensorBoard."""

    def __init__(
        self, task: Task, examples: Sequence[Example], config: Config, class_ids: ClassIds, count: int = 6
    ) -> None:
        self.task, self.config, self.class_ids = task, config, class_ids
        self.examples = list(examples)[:: max(1, len(examples) // count)][:count]

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
            return
        network = copy.deepcopy(module.network)  # the engine's own, in evaluation mode
        engine = TorchEngine(network, self.config, str(module.device))  # type: ignore[arg-type]
        segmenter = Segmenter(self.task, engine, self.config)
        sheet = prediction_sheet(segmenter, self.examples, self.class_ids, columns=1)
        image = torch.from_numpy(np.array(sheet)).permute(2, 0, 1)
        trainer.logger.experiment.add_image("image, true, predicted", image, trainer.current_epoch)


def prediction_sheet(
    segmenter: Segmenter, examples: Sequence[Example], class_ids: ClassIds, columns: int = 5
) -> Image.Image:
    """RGB sheet: image, true mask and predicted mask of each example side by side, in sequence.

    ``class_ids`` turns what an example reads into the task's class ids.
    """
    rows = -(-len(examples) // columns)
    sheet = Image.new("RGB", (columns * (3 * CELL + 12), rows * (CELL + 8)), "white")
    for number, example in enumerate(examples):
        image, target = example.read()
        result = segmenter.predict(image)
        cells = [image, colour_mask(class_ids(target), segmenter.task), colour_mask(result.class_ids, segmenter.task)]
        left, top = number % columns * (3 * CELL + 12), number // columns * (CELL + 8)
        for position, cell in enumerate(cells):
            picture = Image.fromarray(cell)
            picture.thumbnail((CELL - 4, CELL - 4), Image.Resampling.NEAREST if position else Image.Resampling.BILINEAR)
            sheet.paste(picture, (left + position * CELL, top))
    return sheet


def learning_curves(epochs: Iterable[dict[str, float]], path: Path, title: str) -> None:
    """Loss and mean IoU over the epochs as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    history = list(epochs)
    number = [scores["epoch"] + 1 for scores in history]
    figure, (losses, ious) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axes, names in ((losses, ("train_loss", "val_loss")), (ious, ("val_mean_iou", "val_foreground_iou"))):
        for name in names:
            if any(name in scores for scores in history):
                values = [scores.get(name, float("nan")) for scores in history]
                axes.plot(number, values, label=name.replace("_", " "), marker=".")
    losses.set(xlabel="epoch", ylabel="loss", title=title)
    ious.set(xlabel="epoch", ylabel="IoU", ylim=(0, 1))
    for axes in (losses, ious):
        axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
