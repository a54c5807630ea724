"""Runs a network on pixels, on CUDA or the CPU; knows no task."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from segmenter.image import normalise
from segmenter.networks import WithDescription


def choose_device(device: str) -> str:
    """ "auto" is CUDA when there is one; ValueError for a device that this machine lacks."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise ValueError(f"device {device!r} is not available here; use 'cpu', or 'auto' to choose by itself.")
    return device


class Engine:
    """A network ready to run: in evaluation mode, on its device, channels last."""

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], device: str) -> None:
        self.device = device
        self.mean, self.std = mean, std
        self.network = network.to(device).to(memory_format=torch.channels_last)
        self._describing = WithDescription(self.network)

    def run(self, images: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """uint8 images (B, H, W, 3) -> float32 logits (B, M, H, W) on the engine's device, and the
        descriptions float32 (B, F) of the images (see ``WithDescription``)."""
        training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                pixels = normalise(torch.from_numpy(images).to(self.device), self.mean, self.std)
                with torch.autocast("cuda", enabled=self.device.startswith("cuda")):
                    logits, descriptions = self._describing(pixels)
                return logits.float(), descriptions.float().cpu().numpy()
        finally:
            self.network.train(training)
