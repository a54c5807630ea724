"""The training step, the validation step and the optimiser of every model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor, nn
from torchmetrics.classification import MulticlassConfusionMatrix

from segmenter.config import Config
from segmenter.inference import class_probabilities, map_probabilities, normalise
from segmenter.metrics import IGNORE, foreground_confusion, iou_per_class
from train.data import DataError
from train.recipe import Recipe


class SegmentationModule(L.LightningModule):
    """Trains ``network`` by ``recipe``; logs train_loss, val_loss, val_mean_iou and val_foreground_iou.

    A batch is ``{"image": uint8 (B, H, W, 3), "target": int64 (B, H, W)}``, 255 ignored. A checkpoint keeps the recipe
    and the ``names`` of the training pictures, in the order of the list.

    With a ``teacher``, the cross-entropy to its probabilities of every pixel, the ignored ones too, is a second loss:
    what it is unsure of is not learnt by heart (Beyer et al., "A good teacher is patient and consistent", CVPR 2022).
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        config: Config,
        names: Sequence[str] = (),
        teacher: tuple[nn.Module, Config] | None = None,
    ) -> None:
        super().__init__()
        self.teacher = teacher  # in a tuple it is no part of what is trained, averaged and saved
        self.network = network.to(memory_format=torch.channels_last)
        self.recipe, self.config = recipe, config
        self.begun = {**asdict(recipe), "pictures": hashlib.sha256("\n".join(names).encode()).hexdigest()}
        self.begun |= {"encoder": (*config.mean, *config.std)}  # what is known of it once training has begun
        if teacher is not None:
            values = (value.numpy(force=True).tobytes() for value in teacher[0].state_dict().values())
            self.begun["teacher"] = hashlib.sha256(b"".join(values)).hexdigest()
        self.dice = DiceLoss(mode="multiclass", ignore_index=IGNORE)
        self.confusion = MulticlassConfusionMatrix(len(config.classes), ignore_index=IGNORE)
        public = torch.full((256,), IGNORE)
        public[: len(config.network_classes)] = torch.tensor(config.network_classes)
        self.register_buffer("public", public, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(normalise(images, self.config.mean, self.config.std))
        return logits

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["begun"] = self.begun

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """DataError for a checkpoint of another recipe or other pictures: no run would end as this one goes on."""
        before = {"devices": 1, **checkpoint.get("begun", {})}  # earlier ones do not tell
        other = [name for name, value in self.begun.items() if before.get(name) != value]
        if other:
            raise DataError(
                f"the checkpoint was begun with another value of {', '.join(other)}; give the options and the data of "
                "then, or start without --resume."
            )

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        logits = logits.float()
        if self.recipe.loss == "bce":
            known = target != IGNORE
            one_hot = nn.functional.one_hot(target.where(known, 0), logits.shape[1]).movedim(-1, 1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, one_hot.float(), reduction="none")
            return (loss.mean(1) * known).sum() / known.sum().clamp(min=1)
        # The sum over known pixels, since the mean of no pixel at all would be NaN.
        known_pixels = (target != IGNORE).sum().clamp(min=1)
        loss = nn.functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum") / known_pixels
        if self.recipe.loss == "cross_entropy+dice":
            loss = loss + self.dice(logits, target)
        return loss

    def on_fit_start(self) -> None:
        if self.teacher is not None:
            self.teacher[0].eval().to(self.device).to(memory_format=torch.channels_last)

    def distance_to_teacher(self, logits: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy of the logits (B, M, H, W) to the teacher's probabilities; 0 without one."""
        if self.teacher is None:
            return logits.new_zeros(())
        network, config = self.teacher
        with torch.no_grad():
            taught = network(normalise(images, config.mean, config.std)).float().softmax(1)
        return nn.functional.cross_entropy(logits.float(), taught)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        # Dropout too follows from seed and step alone, so a resumed run ends as an unbroken one.
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)
        logits = self(batch["image"])
        loss = self.loss(logits, batch["target"]) + self.distance_to_teacher(logits, batch["image"])
        self.log("train_loss", loss, on_epoch=True, on_step=False, prog_bar=True, batch_size=len(batch["image"]))
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        logits = self(batch["image"])
        loss = self.loss(logits, batch["target"])
        self.log("val_loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch["image"]))
        predicted = class_probabilities(map_probabilities(logits, self.config), self.config).argmax(1)
        self.confusion.update(predicted, self.public[batch["target"]])  # type: ignore[index]

    def on_validation_epoch_end(self) -> None:
        confusion = self.confusion.compute().cpu().numpy()
        self.confusion.reset()
        self.log("val_mean_iou", float(iou_per_class(confusion).mean()), prog_bar=True)
        self.log("val_foreground_iou", float(iou_per_class(foreground_confusion(confusion))[1]))

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        encoder = [p for name, p in self.network.named_parameters() if name.startswith("encoder.")]
        rest = [p for name, p in self.network.named_parameters() if not name.startswith("encoder.")]
        groups = [
            {"params": rest, "lr": recipe.learning_rate},
            {"params": encoder, "lr": recipe.learning_rate * recipe.encoder_rate},
        ]
        optimiser: torch.optim.Optimizer
        if recipe.optimiser == "adam":  # the ancestors': one rate for all, no decay
            optimiser = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)
        else:
            optimiser = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=recipe.weight_decay)
        if recipe.schedule == "constant":
            return optimiser
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            max_lr=[group["lr"] for group in optimiser.param_groups],
            total_steps=steps,
            pct_start=0.25 if steps == 5 else 0.2,  # PyTorch divides by a fifth of the steps less one
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
