"""What stands beside a network's weights: ``config.json``, everything that decides how they are used.

A folder of weights has smp's ``save_pretrained`` layout: ``config.json`` and ``model.safetensors``.
What the network alone does not tell (classes, preprocessing, input policy, recipe, metrics) stands
in the config under ``_segmenter``; smp's own ``from_pretrained`` skips keys with an underscore.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segmenter.files import write_whole
from segmenter.tasks import InputPolicy

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
METRICS_FILE = "metrics.json"


class WeightsError(ValueError):
    """A folder of weights cannot be used; its message says why and what to do."""


@dataclass(frozen=True)
class Familiarity:
    """Tells pictures like those a model learnt from apart from others.

    The score of a picture is ``weights`` (F,) times its description plus ``bias``: log-odds of being such a
    picture, shifted so that at least 98 of 100 validation pictures are above 0.
    """

    weights: tuple[float, ...]
    bias: float

    def score(self, description: np.ndarray) -> float:
        return float(description.astype(np.float64) @ np.array(self.weights) + self.bias)


@dataclass(frozen=True)
class Config:
    """Everything that decides how weights are used.

    ``network`` holds the class name under ``_model_class`` and its arguments. ``classes`` are the
    public class names in id order; ``network_classes`` gives for each output map of the network the
    class id it counts for, so that a network may tell apart more than it shows: nuclei have
    (0, 1, 1), background, core and rim of a nucleus. ``size`` is the working size (fit) or the tile
    (tile) in pixels, ``overlap`` that of the tiles; ``auto_contrast`` says whether the network sees each
    picture with its contrast stretched.

    Chosen on validation pictures after training: ``temperature`` divides the logits so that confidence
    is calibrated; an object's seed is where the core's probability is above ``seed_threshold``, and
    objects of fewer than ``min_object`` pixels do not count; ``familiarity`` knows pictures of the
    model's kind, None where it was not measured.
    """

    task: str
    network: dict[str, Any]
    classes: tuple[str, ...]
    network_classes: tuple[int, ...]
    input_policy: InputPolicy
    size: int
    overlap: int = 0
    auto_contrast: bool = False
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    temperature: float = 1.0
    seed_threshold: float = 0.5
    min_object: int = 10
    familiarity: Familiarity | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def seed_map(self) -> int | None:
        """The output map of the cores of objects, where the network parts them; else None."""
        if len(self.network_classes) == len(self.classes):
            return None
        return self.network_classes.index(1)


def save_config(config: Config, folder: str | os.PathLike[str]) -> None:
    """Write ``config.json`` into a ``folder`` that is there, whole or not."""
    own = asdict(config)
    document = {**own.pop("network"), "encoder_weights": None, "_segmenter": own}
    if document["_model_class"] == "ClassicUNet":
        del document["encoder_weights"]
    write_whole(Path(folder) / CONFIG_FILE, (json.dumps(document, indent=2) + "\n").encode())


def load_config(folder: str | os.PathLike[str]) -> Config:
    """Read a folder's ``config.json``; WeightsError with the way out where it does not fit."""
    path = Path(folder) / CONFIG_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise WeightsError(
            f"{Path(folder)} has no readable {CONFIG_FILE}; give a folder that holds {CONFIG_FILE} and "
            f"{WEIGHTS_FILE}, as `python -m train.TASK` writes it."
        ) from None
    except ValueError:
        raise WeightsError(f"{path} is not JSON; restore it or train again.") from None
    try:
        own = document.pop("_segmenter")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in own.items()}
        if fields.get("familiarity") is not None:
            found = fields["familiarity"]
            fields["familiarity"] = Familiarity(tuple(found["weights"]), found["bias"])
        return Config(network=document, **fields)
    except (AttributeError, KeyError, TypeError):
        raise WeightsError(
            f"{path} lacks the fields of this project under '_segmenter'; restore it or train again."
        ) from None
