"""Which engine runs a network: CUDA through PyTorch, else OpenVINO, else PyTorch; knows no task.

Nothing here imports PyTorch before it is needed: with OpenVINO and a converted network in the cache it never is.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from segmenter.config import Config, load_config

log = logging.getLogger(__name__)

EngineName = Literal["auto", "openvino", "torch"]


class Engine(Protocol):
    """A network ready to run. Safe to call from several threads; the same window always gives the same bytes, on CUDA
    in batches of one size, since for each its libraries choose other kernels.

    ``name`` is "openvino" or "torch", ``device`` "cpu" or "cuda...", ``batch`` how many windows are best given at once.
    """

    name: str
    device: str
    batch: int

    def run(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """uint8 windows (h, w, 3), of any shapes with sides that are multiples of 32 -> for each the probabilities
        float32 (C, h, w) of the classes, with that of an object's core as one more map where the network has it,
        and the window's description float32 (F,) (see ``segmenter.inference``)."""

    def describe(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The descriptions alone, for less work."""


def load_engine(folder: str | os.PathLike[str], device: str = "auto", engine: str = "auto") -> tuple[Engine, Config]:
    """The best engine for a folder of weights on this machine, or the one that is named.

    ValueError for an unknown engine or a device that is not there, WeightsError for weights that do not fit;
    "openvino" raises ImportError, OSError or RuntimeError where it is missing or fails. "auto" falls back to PyTorch
    there, with one line in the log.
    """
    if engine not in get_args(EngineName):
        raise ValueError(f"unknown engine {engine!r}; choose one of {', '.join(get_args(EngineName))}.")
    device = "cpu" if (device, engine) == ("auto", "openvino") else choose_device(device)
    if device != "cpu" and engine == "openvino":
        raise ValueError(f"the engine openvino runs on the CPU, not on {device}; use device 'cpu' or engine 'torch'.")
    config = load_config(folder)
    if device == "cpu" and engine != "torch":
        try:
            from segmenter.engine_openvino import OpenVinoEngine, converted

            return OpenVinoEngine(converted(Path(folder), config)), config
        except (ImportError, OSError, RuntimeError) as error:
            if engine == "openvino":
                raise
            log.warning("OpenVINO is not used (%s: %s); PyTorch is, and slower.", type(error).__name__, error)
    from segmenter.networks import load_network

    network, config = load_network(folder)
    if device != "cpu":
        from segmenter.engine_cuda import CudaEngine

        return CudaEngine(network, config, device), config
    from segmenter.engine_torch import TorchEngine

    return TorchEngine(network, config, device), config


def choose_device(device: str) -> str:
    """ "auto" is CUDA when there is one; ValueError for a device that this machine lacks."""
    if device == "auto":
        return "cuda" if cuda_available() else "cpu"
    if device != "cpu" and device not in cuda_devices():
        raise ValueError(f"device {device!r} is not available here; use 'cpu', or 'auto' to choose by itself.")
    return device


def cuda_devices() -> list[str]:
    """The names of the devices that PyTorch has through CUDA: "cuda", "cuda:0" and so on."""
    if not cuda_available():
        return []
    import torch

    return ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]


def cuda_available() -> bool:
    """PyTorch's word for it, which is asked only where NVIDIA's driver is installed: to import it takes seconds."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()
