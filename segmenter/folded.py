"""smp's U-Net decoder as an exact equal with half the multiplications, which can also compute in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from segmenter.config import Rounding, WeightsError

LEVELS = 127  # of 8 bits with a sign, to either side of 0


def folded(network: Any) -> FoldedDecoder | None:
    """An equal of the decoder and head of a network of smp with fewer multiplications; None where they are of another
    kind than ``Unet`` with nearest neighbours and no attention."""
    decoder, head = network.decoder, network.segmentation_head
    if type(decoder).__name__ != "UnetDecoder" or not isinstance(decoder.center, nn.Identity):
        return None
    if not all(map(FoldedBlock.takes, decoder.blocks)) or not isinstance(head[1], nn.Identity):
        return None
    return FoldedDecoder(decoder.blocks, head[0], [*reversed(network.encoder.out_channels[1:-1]), 0])


class FoldedDecoder(nn.Module):
    """Features of rising depth -> logits."""

    def __init__(self, blocks: Sequence[Any], head: nn.Conv2d, skip_channels: Sequence[int]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(FoldedBlock, blocks, skip_channels))
        self.head = Convolution(head.weight, head.bias)

    @property
    def convolutions(self) -> list[Convolution]:
        """In the order in which they compute."""
        return [module for module in self.modules() if isinstance(module, Convolution)]

    def forward(self, *features: Tensor) -> Tensor:
        *skips, x = features
        for block in self.blocks:
            x = block(x, skips.pop() if skips else None)
        logits: Tensor = self.head(x)
        return logits

    def round_to(self, rounding: Rounding) -> None:
        """Compute in 8 bits from now on. WeightsError where the rounding is that of another network."""
        if len(rounding.limits) != len(self.convolutions):
            raise WeightsError(
                f"the rounding to 8 bits is of {len(rounding.limits)} convolutions, the decoder has "
                f"{len(self.convolutions)}; restore the config or run `python -m train.calibrate` again."
            )
        for convolution, limit, shift in zip(self.convolutions, rounding.limits, rounding.shifts, strict=True):
            convolution.round_to(limit, torch.tensor(shift))


class FoldedBlock(nn.Module):
    """Doubling by nearest neighbour, the skip appended, and twice a 3x3 convolution, batch normalisation and ReLU.

    After a doubling, four of the nine taps of a 3x3 kernel always meet the same pixel: the two together are a
    transposed convolution of stride 2 with a 4x4 kernel, the 3x3 kernel convolved with a 2x2 one of ones. It takes
    4 multiplications for each output instead of 9 and needs no doubled map in memory. The skip has a convolution of
    its own, and batch normalisation goes into the kernels.
    """

    def __init__(self, block: Any, skip_channels: int) -> None:
        super().__init__()
        kernel, bias = without_norm(*list(block.conv1)[:2])
        below = kernel.shape[1] - skip_channels
        of_doubled = kernel[:, :below]
        padded = nn.functional.pad(of_doubled.reshape(-1, 1, 3, 3), (1, 1, 1, 1)).flip(2, 3)
        doubled = nn.functional.conv2d(padded, padded.new_ones(1, 1, 2, 2))
        doubled = doubled.reshape(*of_doubled.shape[:2], 4, 4).transpose(0, 1)
        self.doubled = Convolution(doubled, bias, doubling=True)
        self.skip = Convolution(kernel[:, below:], torch.zeros_like(bias)) if skip_channels else None
        self.after = Convolution(*without_norm(*list(block.conv2)[:2]))

    @staticmethod
    def takes(block: Any) -> bool:
        convolutions = [list(getattr(block, name, ())) for name in ("conv1", "conv2")]
        return (
            getattr(block, "interpolation_mode", "nearest") == "nearest"
            and all([type(layer) for layer in each] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] for each in convolutions)
            and all(first.kernel_size == (3, 3) for first, *_ in convolutions)
            and all(isinstance(getattr(block, name).attention, nn.Identity) for name in ("attention1", "attention2"))
        )

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        x = self.doubled(x)
        if self.skip is not None:
            x = x + self.skip(skip)
        after: Tensor = self.after(x.relu()).relu()
        return after


class Convolution(nn.Module):
    """A 3x3 convolution, or with ``doubling`` a transposed one of 4x4 and stride 2, exact until ``round_to``."""

    def __init__(self, kernel: Tensor, bias: Tensor | None, doubling: bool = False) -> None:
        super().__init__()
        bias = kernel.new_zeros(kernel.shape[0]) if bias is None else bias
        self.kernel: Tensor
        self.bias: Tensor
        self.register_buffer("kernel", kernel.detach().contiguous())
        self.register_buffer("bias", bias.detach().clone())
        self.doubling = doubling
        self.limit: tuple[float, float] | None = None

    def round_to(self, limit: tuple[float, float], shift: Tensor) -> None:
        """Compute in 8 bits: the input between the two of ``limit``, evenly, from 0 on where it is never below; the
        kernel for every output channel by itself. ``shift`` is added to the bias."""
        self.limit = limit
        self.bias += shift

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel
        if self.limit is not None:
            x, kernel = _rounded(x, *self.limit), _rounded_kernel(kernel, axis=int(self.doubling))
        if self.doubling:
            return nn.functional.conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)
        return nn.functional.conv2d(x, kernel, self.bias, padding=1)


def without_norm(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution (without a bias) and the batch normalisation after it, in evaluation mode."""
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return convolution.weight * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def _rounded(x: Tensor, low: float, high: float) -> Tensor:
    if low >= 0:
        return torch.fake_quantize_per_tensor_affine(x, high / 255, 0, 0, 255)
    return torch.fake_quantize_per_tensor_affine(x, max(-low, high) / LEVELS, 0, -LEVELS - 1, LEVELS)


def _rounded_kernel(kernel: Tensor, axis: int) -> Tensor:
    others = [number for number in range(4) if number != axis]
    step = kernel.abs().amax(dim=others).clamp(min=1e-12) / LEVELS
    none = torch.zeros_like(step, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(kernel, step, none, axis, -LEVELS, LEVELS)
