"""PyTorch as the engine: exact, and picture by picture; on CUDA only for what training shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from segmenter.config import Config
from segmenter.inference import Decoder, Encoder
from segmenter.threads import usable_cpus


class TorchEngine:
    """See ``segmenter.engine.Engine``. ``network`` is put into evaluation mode and onto ``device``."""

    name = "torch"

    def __init__(self, network: nn.Module, config: Config, device: str = "cpu") -> None:
        self.device, self.batch = device, 1
        network = network.eval()
        parts = (Encoder(network, config).eval(), Decoder(network, config).eval())
        self._encoder, self._decoder = (part.to(device).to(memory_format=torch.channels_last) for part in parts)
        self._describes = parts[0].describes
        if torch.get_num_threads() > usable_cpus():
            torch.set_num_threads(usable_cpus())

    def run(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for batch in stacks(windows, self.batch):
            with torch.inference_mode():
                description, features = self._encode(batch)
                values = self._decoder(*features).float().cpu().numpy()
            found += zip(values, description.cpu().numpy(), strict=True)
        return found

    def describe(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        for batch in stacks(windows, self.batch):
            with torch.inference_mode():
                found += list(self._encode(batch)[0].cpu().numpy())
        return found

    def _encode(self, batch: np.ndarray) -> tuple[Tensor, tuple[Tensor, ...]]:
        """uint8 (B, h, w, 3) -> descriptions (B, F), and what the decoder takes."""
        return parted(self._encoder(torch.from_numpy(batch).to(self.device)), self._describes)


def parted(found: tuple[Tensor, ...], describes: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What an encoder gives, as descriptions float32 (B, F), of which there are none for F = 0, and what the decoder
    takes."""
    return (found[0], found[1:]) if describes else (found[0].new_zeros(len(found[0]), 0, dtype=torch.float32), found)


def stacks(windows: Sequence[np.ndarray], most: int) -> list[np.ndarray]:
    """Windows that follow each other and have one shape, at most so many of them, stacked."""
    found: list[np.ndarray] = []
    for _, group in groupby(windows, key=lambda window: window.shape):
        alike = list(group)
        found += [np.stack(alike[i : i + most]) for i in range(0, len(alike), most)]
    return found
