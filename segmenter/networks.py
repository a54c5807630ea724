"""The networks: the classic U-Net written out, U-Nets on a pretrained encoder, and their files.

A folder of weights has smp's ``save_pretrained`` layout: ``config.json`` and ``model.safetensors``.
What the network alone does not tell (classes, preprocessing, input policy, recipe, metrics) stands
in the config under ``_segmenter``; smp's own ``from_pretrained`` skips keys with an underscore.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from segmenter.files import write_whole
from segmenter.tasks import InputPolicy

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
METRICS_FILE = "metrics.json"


class WeightsError(ValueError):
    """A folder of weights cannot be used; its message says why and what to do."""


def _double_convolution(inputs: int, outputs: int, norm: bool, dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    if dropout:
        layers.append(nn.Dropout2d(dropout))
    return nn.Sequential(*layers)


class ClassicUNet(nn.Module):
    """The U-Net of Ronneberger et al. (MICCAI 2015), padded so that the output has the input's size.

    pixels (B, 3, H, W) -> logits (B, classes, H, W); H and W are multiples of
    2 ** (len(filters) - 1). ``filters`` are the channels per level, ``head_filters`` the channels of
    further 3x3 convolutions before the last one. Upsampling is a 3x3 transposed convolution.
    With filters (64, ..., 1024) and 3 classes it has 34,513,475 parameters; with (32, ..., 512),
    head_filters (32,) and 3 classes 8,639,811.
    """

    def __init__(
        self,
        classes: int,
        filters: Sequence[int] = (64, 128, 256, 512, 1024),
        dropout: float = 0.0,
        norm: bool = False,
        head_filters: Sequence[int] = (),
    ) -> None:
        super().__init__()
        inputs = [3, *filters[:-1]]
        self.down = nn.ModuleList(
            _double_convolution(i, o, norm, dropout) for i, o in zip(inputs, filters, strict=True)
        )
        deep_first = list(reversed(filters))
        pairs = list(zip(deep_first[:-1], deep_first[1:], strict=True))
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1) for i, o in pairs
        )
        self.up = nn.ModuleList(_double_convolution(2 * o, o, norm, dropout) for _, o in pairs)
        head: list[nn.Module] = []
        channels = filters[0]
        for outputs in head_filters:
            head += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            channels = outputs
        self.head = nn.Sequential(*head, nn.Conv2d(channels, classes, 1))
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        skips: list[Tensor] = []
        x = pixels
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for upsample, block in zip(self.upsample, self.up, strict=True):
            x = block(torch.cat([upsample(x), skips.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


class TransposedUNet(nn.Module):
    """A U-Net on a pretrained encoder whose decoder upsamples by transposed convolutions.

    The design of TensorFlow's segmentation tutorial: each step is a 3x3 transposed convolution of
    stride 2, batch normalisation and ReLU, then the encoder's features of that size are appended.
    pixels (B, 3, H, W) -> logits (B, classes, H, W); H and W are multiples of 32.
    """

    def __init__(
        self,
        classes: int,
        encoder_name: str = "mobilenet_v2",
        encoder_weights: str | None = None,
        decoder_channels: Sequence[int] = (512, 256, 128, 64),
    ) -> None:
        super().__init__()
        from segmentation_models_pytorch.encoders import get_encoder

        self.encoder = get_encoder(encoder_name, weights=encoder_weights)
        skips = list(reversed(self.encoder.out_channels))[1:5]
        inputs = [self.encoder.out_channels[-1]]
        inputs += [d + s for d, s in zip(decoder_channels, skips, strict=True)]
        self.decoder = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(i, o, 3, stride=2, padding=1, output_padding=1, bias=False),
                nn.BatchNorm2d(o),
                nn.ReLU(inplace=True),
            )
            for i, o in zip(inputs[:-1], decoder_channels, strict=True)
        )
        self.head = nn.ConvTranspose2d(inputs[-1], classes, 3, stride=2, padding=1, output_padding=1)

    def forward(self, pixels: Tensor) -> Tensor:
        features = self.encoder(pixels)
        x = features.pop()
        for block in self.decoder:
            x = torch.cat([block(x), features.pop()], dim=1)
        logits: Tensor = self.head(x)
        return logits


class WithDescription(nn.Module):
    """A network that also describes the picture it sees.

    pixels (B, 3, H, W) -> logits (B, M, H, W) and descriptions (B, F): the means over the picture of the
    encoder's features at 1/8 and 1/16 of its size. F is 0 for networks other than smp's. ``Familiarity``
    judges by it.
    """

    LEVELS = (3, 4)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        if not hasattr(network, "segmentation_head"):
            return network(pixels), pixels.new_zeros(len(pixels), 0)
        features = network.encoder(pixels)  # type: ignore[operator]
        means = [features[level].mean(dim=(2, 3)) for level in self.LEVELS]
        logits = network.segmentation_head(network.decoder(features))  # type: ignore[operator]
        return logits, torch.cat(means, dim=1).float()


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


def build_network(network: dict[str, Any]) -> nn.Module:
    """The network that a config describes, with random weights. It never downloads anything.

    WeightsError for an unknown class and for arguments that its class refuses.
    """
    arguments = {key: value for key, value in network.items() if not key.startswith("_")}
    arguments.pop("encoder_weights", None)
    name = network.get("_model_class")
    if name not in ("Unet", "UnetPlusPlus", "ClassicUNet", "TransposedUNet"):
        raise WeightsError(
            f"the network class {name!r} is not known; it is Unet, UnetPlusPlus, ClassicUNet or TransposedUNet."
        )
    try:
        if name == "ClassicUNet":
            return ClassicUNet(**arguments)
        if name == "TransposedUNet":
            return TransposedUNet(**arguments)
        import segmentation_models_pytorch as smp

        built: nn.Module = getattr(smp, name)(**arguments, encoder_weights=None)
        return built
    except Exception as error:  # each class refuses what it cannot take in its own way
        raise WeightsError(
            f"the network {name} cannot be built from the arguments in {CONFIG_FILE} ({_detail(error)}); "
            "restore the file or train again."
        ) from error


def _detail(error: Exception) -> str:
    """The last line of an error's message, short enough to stand inside a sentence."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return textwrap.shorten(line.rstrip("."), 160, placeholder=" and more")


def save_network(network: nn.Module, config: Config, folder: str | os.PathLike[str]) -> None:
    """Write ``config.json`` and ``model.safetensors`` (half precision) into ``folder``, each whole or not."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    state = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    write_whole(Path(folder) / WEIGHTS_FILE, save(state, metadata={"format": "pt"}))
    save_config(config, folder)


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


def load_network(folder: str | os.PathLike[str]) -> tuple[nn.Module, Config]:
    """The network of a folder, in float32 and evaluation mode, and its config.

    Reads local files only and never unpickles. WeightsError names what does not fit.
    """
    config = load_config(folder)
    path = Path(folder) / WEIGHTS_FILE
    if not path.is_file():
        raise WeightsError(f"{path} is missing; restore it or run `python -m train.{config.task}`.")
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError):
        raise WeightsError(f"{path} is damaged or not safetensors; restore it or train again.") from None
    network = build_network(config.network)
    try:
        nn.Module.load_state_dict(network, state)
    except RuntimeError as error:
        raise WeightsError(
            f"{path} does not fit the network in {CONFIG_FILE} ({_detail(error)}); "
            "keep the two files of one run together."
        ) from None
    return network.eval(), config


def load_encoder(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill a network's encoder from a safetensors file of the encoder alone."""
    encoder = network.get_submodule("encoder")
    missing, _ = nn.Module.load_state_dict(encoder, load_file(path), strict=False)
    absent = [key for key in missing if not key.endswith("num_batches_tracked")]
    if absent:
        raise WeightsError(f"{path} is no encoder for this network: it lacks {absent[0]} and {len(absent) - 1} more.")


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def map_probabilities(logits: Tensor, config: Config) -> Tensor:
    """Logits (B, M, H, W) -> calibrated probabilities (B, M, H, W) of the network's M output maps."""
    return (logits.float() / config.temperature).softmax(dim=1)


def class_probabilities(maps: Tensor, config: Config) -> Tensor:
    """Probabilities (B, M, H, W) of M output maps -> (B, C, H, W) of the C public classes."""
    if config.seed_map is None:
        return maps
    class_of_map = torch.tensor(config.network_classes, device=maps.device)
    size = (maps.shape[0], len(config.classes), *maps.shape[2:])
    return maps.new_zeros(size).index_add_(1, class_of_map, maps)
