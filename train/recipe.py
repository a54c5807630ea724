"""Everything that decides a training run, in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

# What all four shipped models are: 4.18 million parameters.
UNET: dict[str, Any] = {
    "_model_class": "Unet",
    "encoder_name": "mobilenet_v2",
    "decoder_channels": [128, 64, 48, 32, 16],
}


@dataclass(frozen=True)
class Recipe:
    """How one model is made. Printed when a run starts and stored beside its weights.

    Sizes are pixels, rates are per optimiser step, ``scale`` is relative to the input policy's scale.
    """

    # The network: class name under "_model_class" and its arguments, without the class count.
    network: dict[str, Any]
    # "imagenet" starts the encoder from ImageNet, "random" starts everything from scratch.
    init: Literal["imagenet", "random"] = "imagenet"

    # What the network sees.
    size: int = 256  # working size (fit) or tile (tile) in prediction
    overlap: int = 0  # of the tiles in prediction
    crop: int = 256  # side of a training sample
    scale: tuple[float, float] = (0.7, 1.4)
    augment: Literal["none", "photo", "satellite", "microscopy"] = "none"
    auto_contrast: bool = False  # stretch each picture's contrast first, in prediction too
    stretch: bool = False  # scale each picture to a square, aspect lost, as the ancestors do
    otsu: bool = False  # binarise grey masks at Otsu's threshold instead of at the middle
    extra: bool = True  # learn from the further datasets of the task too
    split: Literal["published", "ancestor"] = "published"
    repeat: int = 1  # how often an epoch passes over the training pictures

    # What it learns from.
    loss: Literal["cross_entropy", "cross_entropy+dice", "bce"] = "cross_entropy+dice"
    optimiser: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["onecycle", "constant"] = "onecycle"
    learning_rate: float = 2e-3
    encoder_rate: float = 0.5  # the encoder's learning rate as a share of the decoder's
    weight_decay: float = 0.01
    batch: int = 16
    epochs: int = 10
    ema: float = 0.0  # what each step keeps of a running mean of the weights, which is validated and saved instead
    teacher: str = ""  # name of the recipe that is trained first and whose probabilities are learnt from too
    patience: int = 0  # epochs without a better validation loss before stopping; 0 never stops
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size % 32:  # else it would be told after the training, when the weights are read
            raise ValueError(f"the working size is {self.size}; give a multiple of 32.")

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Recipe:
        """The recipe that stands in a config, without what earlier versions had and this one does not."""
        known = {field.name for field in fields(cls)}
        ours: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in stored.items() if name in known
        }
        return cls(**ours)

    def lines(self) -> str:
        """The record as text, one field a line."""
        return "\n".join(f"  {name:14} {value}" for name, value in vars(self).items())
