"""The networks in PyTorch: the classic U-Net written out, U-Nets on a pretrained encoder, and their weights.

The folder that holds them is described in ``segmenter.config``.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from segmenter.config import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    Config,
    WeightsError,
    load_config,
    read_weights,
    save_config,
    write_weights,
)


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
    """Write ``config.json``, ``model.safetensors`` (half precision) and its checksum into ``folder``, each whole or
    not."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    state = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    write_weights(save(state, metadata={"format": "pt"}), folder)
    save_config(config, folder)


def load_network(folder: str | os.PathLike[str]) -> tuple[nn.Module, Config]:
    """The network of a folder, in float32 and evaluation mode, and its config.

    Reads local files only and never unpickles. WeightsError names what does not fit.
    """
    config = load_config(folder)
    path = Path(folder) / WEIGHTS_FILE
    data = read_weights(folder, config)
    try:
        state = load(data)
    except (SafetensorError, ValueError):
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
    """Fill a network's encoder from a safetensors file of the encoder alone; WeightsError where it holds none."""
    try:
        state = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise WeightsError(f"{path} is damaged or not safetensors; give the file of an encoder.") from error
    encoder = network.get_submodule("encoder")
    missing, _ = nn.Module.load_state_dict(encoder, state, strict=False)
    absent = [key for key in missing if not key.endswith("num_batches_tracked")]
    if absent:
        raise WeightsError(f"{path} is no encoder for this network: it lacks {absent[0]} and {len(absent) - 1} more.")


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
