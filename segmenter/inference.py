"""What every engine runs, in PyTorch: uint8 windows in, class probabilities out, cut in two at the encoder's end.

The decoder is rewritten into an exact equal with half the multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segmenter.config import Config

# What describes a window, in parts: the encoder's features at 1/8 and 1/16 of the size tell textures, at 1/32 things.
DESCRIBING = ((3, 4), (5,))


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """uint8 images (B, H, W, 3) in [0, 255] -> float32 pixels (B, 3, H, W), channels last in memory.

    ``mean`` and ``std`` are of the values in [0, 1], one per channel.
    """
    scale = torch.tensor(std, device=images.device) * 255.0
    shift = torch.tensor(mean, device=images.device) * 255.0
    return ((images.to(torch.float32) - shift) / scale).permute(0, 3, 1, 2)


def map_probabilities(logits: Tensor, config: Config) -> Tensor:
    """Logits (B, M, H, W) -> calibrated probabilities (B, M, H, W) of the network's M output maps."""
    scaled = logits.float() / config.temperature
    if config.offsets:
        of_map = torch.tensor([config.offsets[owner] for owner in config.network_classes], device=logits.device)
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
    objects that of an object's core as one more map."""

    def __init__(self, network: Any, config: Config) -> None:
        super().__init__()
        self.config = config
        self.network: Any = None
        self.decoder: Any = None
        if hasattr(network, "segmentation_head"):
            self.decoder = folded(network.decoder, network.encoder.out_channels)
            self.head = network.segmentation_head
        else:
            self.network = network

    def forward(self, *features: Tensor) -> Tensor:
        if self.network is not None:
            logits = self.network(*features)
        elif isinstance(self.decoder, FoldedDecoder):
            logits = self.head(self.decoder(*features))
        else:  # smp's decoders begin at the pixels, of which they need the size alone
            first = features[0]
            pixels = first.new_zeros(first.shape[0], 1, 2 * first.shape[2], 2 * first.shape[3])
            logits = self.head(self.decoder([pixels, *features]))
        maps = map_probabilities(logits, self.config)
        values = class_probabilities(maps, self.config)
        if self.config.seed_map is not None:
            values = torch.cat([values, maps[:, self.config.seed_map, None]], dim=1)
        return values


def folded(decoder: Any, channels: Sequence[int]) -> nn.Module:
    """An equal of smp's U-Net decoder with fewer multiplications; the decoder itself where it is of another kind.

    ``channels`` are those of the encoder's features, from the pixels down.
    """
    foldable = type(decoder).__name__ == "UnetDecoder" and isinstance(decoder.center, nn.Identity)
    if not foldable or not all(FoldedBlock.takes(block) for block in decoder.blocks):
        found: nn.Module = decoder
        return found
    return FoldedDecoder(decoder.blocks, [*reversed(channels[1:-1]), 0])


class FoldedDecoder(nn.Module):
    """Features of rising depth -> the decoder's last feature map."""

    def __init__(self, blocks: Sequence[nn.Module], skip_channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(FoldedBlock, blocks, skip_channels))

    def forward(self, *features: Tensor) -> Tensor:
        *skips, x = features
        for block in self.blocks:
            x = block(x, skips.pop() if skips else None)
        return x


class FoldedBlock(nn.Module):
    """Doubling by nearest neighbour, the skip appended, a 3x3 convolution, batch normalisation and ReLU, in one step.

    After a doubling, four of the nine taps of a 3x3 kernel always meet the same pixel: the two together are a
    transposed convolution of stride 2 with a 4x4 kernel, the 3x3 kernel convolved with a 2x2 one of ones. It takes
    4 multiplications for each output instead of 9 and needs no doubled map in memory. The skip has a convolution of
    its own, and batch normalisation goes into the kernels.
    """

    def __init__(self, block: Any, skip_channels: int) -> None:
        super().__init__()
        convolution, norm, _ = block.conv1
        gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        kernel = (convolution.weight * gain[:, None, None, None]).detach()
        below = kernel.shape[1] - skip_channels
        of_doubled = kernel[:, :below]
        padded = nn.functional.pad(of_doubled.reshape(-1, 1, 3, 3), (1, 1, 1, 1)).flip(2, 3)
        doubled = nn.functional.conv2d(padded, padded.new_ones(1, 1, 2, 2))
        doubled = doubled.reshape(*of_doubled.shape[:2], 4, 4).transpose(0, 1).contiguous()
        self.doubled = nn.Parameter(doubled, requires_grad=False)
        self.skip = nn.Parameter(kernel[:, below:].contiguous(), requires_grad=False)
        self.bias = nn.Parameter((norm.bias - norm.running_mean * gain).detach(), requires_grad=False)
        self.after = block.conv2

    @staticmethod
    def takes(block: Any) -> bool:
        first = list(getattr(block, "conv1", ()))
        return (
            getattr(block, "interpolation_mode", "nearest") == "nearest"
            and [type(layer) for layer in first] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
            and first[0].kernel_size == (3, 3)
            and all(isinstance(getattr(block, name).attention, nn.Identity) for name in ("attention1", "attention2"))
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = nn.functional.conv_transpose2d(x, self.doubled, self.bias, stride=2, padding=1)
        if skip is not None:
            x = x + nn.functional.conv2d(skip, self.skip, padding=1)
        after: Tensor = self.after(x.relu())
        return after
