"""What every engine runs, in PyTorch: uint8 windows in, class probabilities out, cut in two at the encoder's end."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from segmenter.config import Config
from segmenter.folded import folded

# What describes a window, in parts: the encoder's features at 1/8 and 1/16 of the size tell textures, at 1/32 things.
DESCRIBING = ((3, 4), (5,))


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 images (B, H, W, 3) in [0, 255] -> float32 pixels (B, 3, H, W), channels last in memory.

    ``mean`` and ``std`` are of the values in [0, 1], one per channel.
    """
    scale = constant(std, images.device) * 255.0
    shift = constant(mean, images.device) * 255.0
    return ((images.to(torch.float32) - shift) / scale).permute(0, 3, 1, 2)


def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers float32 (N,) on a device."""
    return _copied_once(values, device) if device.type == "cuda" else torch.tensor(values)


@lru_cache(maxsize=64)
def _copied_once(values: tuple[float, ...], device: torch.device) -> Tensor:
    """For CUDA: a graph that is being captured must not copy from the host."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


def map_probabilities(logits: Tensor, config: Config) -> Tensor:
    """Logits (B, M, H, W) -> calibrated probabilities (B, M, H, W) of the network's M output maps."""
    scaled = logits.float() / config.temperature
    if config.offsets:
        of_map = constant(tuple(config.offsets[owner] for owner in config.network_classes), logits.device)
        scaled = scaled + of_map[:, None, None]
    return scaled.softmax(dim=1)


def class_probabilities(maps: Tensor, config: Config) -> Tensor:
    """Probabilities (B, M, H, W) of M output maps -> (B, C, H, W) of the C public classes."""
    if config.seed_map is None:
        return maps
    of_class = [
        [number for number, owner in enumerate(config.network_classes) if owner == class_id]
        for class_id in range(len(config.classes))
    ]
    return torch.stack([maps[:, numbers].sum(1) for numbers in of_class], dim=1)


class Encoder(nn.Module):
    """uint8 windows (B, H, W, 3) -> what the decoder needs, and first of all the windows' descriptions.

    A description (B, F) float32 is the means over the window of the encoder's features that ``DESCRIBING`` names,
    ``parts`` the lengths of its parts; ``segmenter.config.Familiarity`` judges by it. Networks other than smp's have
    none and are the decoder's as a whole: it gets the pixels (B, 3, H, W).
    """

    def __init__(self, network: Any, config: Config) -> None:
        super().__init__()
        self.encoder = network.encoder if hasattr(network, "segmentation_head") else None
        self.mean, self.std = config.mean, config.std
        channels = self.encoder.out_channels if self.encoder is not None else ()
        levels = [[level for level in part if level < len(channels)] for part in DESCRIBING]
        self.levels = [level for part in levels for level in part]
        self.parts = [sum(channels[level] for level in part) for part in levels if part]

    @property
    def describes(self) -> bool:
        return self.encoder is not None

    def forward(self, windows: Tensor) -> tuple[Tensor, ...]:
        pixels = normalise(windows, self.mean, self.std)
        if self.encoder is None:
            return (pixels,)
        features = self.encoder(pixels)
        means = [features[level].mean(dim=(2, 3)) for level in self.levels]
        return torch.cat(means, dim=1).float(), *features[1:]


class Decoder(nn.Module):
    """The encoder's features -> probabilities (B, C, H, W) float32 of the classes, and where the network parts
    objects that of an object's core as one more map.

    With ``rounded`` it computes in 8 bits where the config says how. WeightsError where that is another network's.
    """

    def __init__(self, network: Any, config: Config, rounded: bool = False) -> None:
        super().__init__()
        self.config = config
        self.of_smp = hasattr(network, "segmentation_head")
        self.folded = folded(network) if self.of_smp else None
        self.network: Any = None if self.folded else network
        if rounded and self.folded is not None and config.rounding is not None:
            self.folded.round_to(config.rounding)

    def forward(self, *features: Tensor) -> Tensor:
        if self.folded is not None:
            logits = self.folded(*features)
        elif self.of_smp:  # its other decoders begin at the pixels, of which they need the size alone
            first = features[0]
            pixels = first.new_zeros(first.shape[0], 1, 2 * first.shape[2], 2 * first.shape[3])
            logits = self.network.segmentation_head(self.network.decoder([pixels, *features]))
        else:
            logits = self.network(*features)
        maps = map_probabilities(logits, self.config)
        values = class_probabilities(maps, self.config)
        if self.config.seed_map is not None:
            values = torch.cat([values, maps[:, self.config.seed_map, None]], dim=1)
        return values
