"""What stands beside a network's weights: ``config.json``, everything that decides how they are used.

A folder of weights has smp's ``save_pretrained`` layout: ``config.json`` and ``model.safetensors``.
What the network alone does not tell (classes, preprocessing, input policy, recipe, metrics) stands
in the config under ``_segmenter``; smp's own ``from_pretrained`` skips keys with an underscore.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from segmenter.files import checksum, write_whole
from segmenter.tasks import InputPolicy

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CHECKSUM_FILE = "SHA256SUMS"  # what `sha256sum -c` reads, of the weights alone
METRICS_FILE = "metrics.json"
MOST = 10_000  # beyond any sensible value of a config


class WeightsError(ValueError):
    """A folder of weights cannot be used; its message says why and what to do."""


@dataclass(frozen=True)
class Judge:
    """Log-odds from a part of a description: ``weights`` times it plus ``bias``."""

    weights: tuple[float, ...]
    bias: float


@dataclass(frozen=True)
class Familiarity:
    """Tells pictures like those a model learnt from apart from others.

    The description of a picture falls into one part for each judge. Its score is what the strictest of them says:
    log-odds of being such a picture, shifted so that at least 98 of 100 validation pictures are above 0. WeightsError
    where the judges are those of another network.
    """

    judges: tuple[Judge, ...]

    def score(self, description: np.ndarray) -> float:
        ends = np.cumsum([len(judge.weights) for judge in self.judges])
        if ends[-1] != description.size:
            raise WeightsError(
                f"{CONFIG_FILE} knows {ends[-1]} features of familiar pictures, its network gives {description.size}; "
                "restore it or run `python -m train.calibrate` again."
            )
        parts = np.split(description.astype(np.float64), ends[:-1])
        said = [part @ np.array(judge.weights) + judge.bias for judge, part in zip(self.judges, parts, strict=True)]
        return float(min(said))


@dataclass(frozen=True)
class Rounding:
    """How the decoder computes in 8 bits (see ``segmenter.folded``): for each of its convolutions the least and the
    largest value of its input, and for every output channel what makes up for the mean error of rounding."""

    limits: tuple[tuple[float, float], ...]
    shifts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Config:
    """Everything that decides how weights are used.

    ``network`` holds the class name under ``_model_class`` and its arguments. ``classes`` are the
    public class names in id order; ``network_classes`` gives for each output map of the network the
    class id it counts for, so that a network may tell apart more than it shows: nuclei have
    (0, 1, 1), background, core and rim of a nucleus. ``size`` is the working size (fit) or the tile
    (tile) in pixels, ``overlap`` that of the tiles; ``auto_contrast`` says whether the network sees each
    picture with its contrast stretched.

    Chosen on validation pictures after training: ``temperature`` divides the logits and ``offsets``,
    one per class or none at all, are then added to them, so that confidence is calibrated; an object's
    seed is where the core's probability is above ``seed_threshold``, and objects of fewer than
    ``min_object`` pixels do not count; a picture in whose middle the median object has fewer pixels than ``zoom_below``
    is read enlarged ``zoom`` times, none where that is 0; ``rounding`` is for processors that are fast in 8 bits, None
    where the decoder cannot; ``familiarity`` knows pictures of the model's kind, None where it was not measured.
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
    offsets: tuple[float, ...] = ()
    seed_threshold: float = 0.5
    min_object: int = 10
    zoom: float = 1.6
    zoom_below: float = 0.0
    rounding: Rounding | None = None
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
    text = re.sub(r"\[([^][{}]+)\]", lambda row: f"[{' '.join(row[1].split())}]", json.dumps(document, indent=2))
    write_whole(Path(folder) / CONFIG_FILE, (text + "\n").encode())


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
    except (ValueError, RecursionError):
        raise WeightsError(f"{path} is not JSON; restore it or train again.") from None
    try:
        own = document.pop("_segmenter")
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in own.items()}
        if fields.get("familiarity") is not None:
            judges = fields["familiarity"]["judges"]
            fields["familiarity"] = Familiarity(
                tuple(Judge(tuple(map(float, one["weights"])), float(one["bias"])) for one in judges)
            )
        if fields.get("rounding") is not None:
            limits, shifts = (fields["rounding"][name] for name in ("limits", "shifts"))
            fields["rounding"] = Rounding(
                tuple((float(low), float(high)) for low, high in limits),
                tuple(tuple(map(float, shift)) for shift in shifts),
            )
        config = Config(network=document, **fields)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise WeightsError(
            f"{path} lacks the fields of this project under '_segmenter'; restore it or train again."
        ) from None
    wrong = impossible(config)
    if wrong is not None:
        raise WeightsError(f"{path} says {wrong} is {getattr(config, wrong)!r:.200}; restore it or train again.")
    return config


def write_weights(data: bytes, folder: str | os.PathLike[str]) -> None:
    """Write ``model.safetensors`` and its line in ``SHA256SUMS`` into a ``folder`` that is there, each whole or not."""
    write_whole(Path(folder) / WEIGHTS_FILE, data)
    write_whole(Path(folder) / CHECKSUM_FILE, checksum(WEIGHTS_FILE, data).encode())


def read_weights(folder: str | os.PathLike[str], config: Config) -> bytes:
    """What a folder's ``model.safetensors`` holds; WeightsError with the way out where it is missing or not what
    ``SHA256SUMS`` says. Folders without that list are not checked."""
    path = Path(folder) / WEIGHTS_FILE
    try:
        data = path.read_bytes()
    except OSError:
        raise WeightsError(f"{path} is missing; restore it or run `python -m train.{config.task}`.") from None
    listed = path.with_name(CHECKSUM_FILE)
    if listed.is_file() and listed.read_text(encoding="utf-8", errors="replace") != checksum(WEIGHTS_FILE, data):
        raise WeightsError(
            f"{path} is damaged or not the file that {CHECKSUM_FILE} beside it lists; restore both or train again."
        )
    return data


def impossible(config: Config) -> str | None:
    """The first field whose value no model can have, None where there is none."""

    def numbers(values: Any, count: int, above: float) -> bool:
        return isinstance(values, tuple) and len(values) == count and all(number(value, above) for value in values)

    def number(value: Any, above: float, whole: bool = False) -> bool:
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        return right and bool(above < value < MOST)

    classes = config.classes
    if not (isinstance(classes, tuple) and classes and all(isinstance(name, str) for name in classes)):
        return "classes"
    magnifies = number(config.zoom, 0) and number(config.size, 0) and config.size >= 32 * config.zoom
    possible = {
        "input_policy": config.input_policy in get_args(InputPolicy),
        "size": number(config.size, 0, whole=True) and config.size % 32 == 0,
        "overlap": number(config.overlap, -1, whole=True)
        and (not number(config.size, 0) or config.overlap < config.size),
        "network_classes": isinstance(config.network_classes, tuple)
        and all(number(owner, -1, whole=True) for owner in config.network_classes)
        and set(config.network_classes) == set(range(len(config.classes))),
        "mean": numbers(config.mean, 3, -MOST),
        "std": numbers(config.std, 3, 0),
        "temperature": number(config.temperature, 0),
        "offsets": config.offsets == () or numbers(config.offsets, len(config.classes), -MOST),
        "seed_threshold": number(config.seed_threshold, -1),
        "min_object": number(config.min_object, -1, whole=True),
        "zoom": number(config.zoom, 0) and config.zoom >= 1,
        "zoom_below": number(config.zoom_below, -1)
        and (config.zoom_below <= 0 or config.input_policy == "tile" and magnifies),
        "familiarity": config.familiarity is None
        or len(config.familiarity.judges) > 0
        and all(
            len(judge.weights) > 0 and bool(np.isfinite((*judge.weights, judge.bias)).all())
            for judge in config.familiarity.judges
        ),
        "rounding": config.rounding is None
        or len(config.rounding.limits) == len(config.rounding.shifts)
        and all(-MOST < low <= 0 < high < MOST for low, high in config.rounding.limits),
    }
    return next((name for name, holds in possible.items() if not holds), None)
