"""PyTorch on CUDA as the engine: half precision, batches, captured graphs, and copies beside the network."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from segmenter.config import Config
from segmenter.engine_torch import parted, stacks
from segmenter.inference import Decoder, Encoder

BATCH = 64
CAPTURED = 8  # windows; in batches up to here to start the kernels one by one takes longer than they do
MOST_GRAPHS = 16  # each has its own shape of a batch; the one used longest ago goes
CAPTURING = threading.Lock()  # one capture at a time in a process, whichever engine's


class CudaEngine:
    """See ``segmenter.engine.Engine``. Each thread has a stream of its own, so that the copies of one batch and the
    network on another go on at the same time."""

    name = "torch"

    def __init__(self, network: nn.Module, config: Config, device: str = "cuda") -> None:
        self.device, self.batch = device, BATCH
        network = deepcopy(network).eval()
        decoder = Decoder(network, config).eval()
        encoder = Encoder(without_norms(network), config).eval()
        self._describes = encoder.describes
        self._encoder, self._decoder = (
            halved(part).to(device).to(memory_format=torch.channels_last) for part in (encoder, decoder)
        )
        self._graphs: OrderedDict[tuple[int, ...], Graph] = OrderedDict()
        self._lock, self._of_thread = threading.Lock(), threading.local()
        torch.cuda.synchronize(device)  # until the weights lie there; the threads' streams do not wait for this one

    def run(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        found: list[tuple[np.ndarray, np.ndarray]] = []
        begun: deque[Begun] = deque()
        with torch.inference_mode(), torch.cuda.stream(self._stream()):
            for batch in stacks(windows, self.batch):
                begun.append(Begun(self._both(upload(batch, self.device))))
                if len(begun) > 1:
                    found += begun.popleft().pairs()
        return found + [pair for batch in begun for pair in batch.pairs()]

    def describe(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found: list[np.ndarray] = []
        with torch.inference_mode(), torch.cuda.stream(self._stream()), autocast():
            for batch in stacks(windows, self.batch):
                found += list(parted(self._encoder(upload(batch, self.device)), self._describes)[0].cpu().numpy())
        return found

    def _stream(self) -> torch.cuda.Stream:
        if not hasattr(self._of_thread, "stream"):
            self._of_thread.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream: torch.cuda.Stream = self._of_thread.stream
        return stream

    def _both(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """Windows uint8 (B, h, w, 3) -> values float32 (B, C, h, w) and descriptions float32 (B, F)."""
        if len(windows) > CAPTURED:
            return self._network(windows)
        with self._lock:
            shape = tuple(windows.shape)
            if shape not in self._graphs:
                self._graphs[shape] = Graph(self._network, windows)
            self._graphs.move_to_end(shape)
            while len(self._graphs) > MOST_GRAPHS:
                self._graphs.popitem(last=False)[1].done.synchronize()
            return self._graphs[shape](windows)

    def _network(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        with autocast():
            description, features = parted(self._encoder(windows), self._describes)
            return self._decoder(*features).float(), description


class Graph:
    """The kernels of a network for one shape, started all at once; one user at a time."""

    def __init__(self, network: Callable[[Tensor], tuple[Tensor, Tensor]], windows: Tensor) -> None:
        self.windows, self.graph = windows.clone(), torch.cuda.CUDAGraph()
        with CAPTURING:
            # Of a pool that no thread has its stream from: whatever another one started there would be captured too.
            stream = torch.cuda.Stream(windows.device, priority=-1)  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):  # libraries choose and load their kernels, which cannot be captured
                    network(self.windows)
            stream.synchronize()
            with torch.cuda.graph(self.graph, stream=stream, capture_error_mode="thread_local"):
                self.found = network(self.windows)
            torch.cuda.current_stream().wait_stream(stream)
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.done.record()

    def __call__(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        torch.cuda.current_stream().wait_event(self.done)  # of another thread's stream
        self.windows.copy_(windows)
        self.graph.replay()
        values, description = (tensor.clone() for tensor in self.found)
        self.done.record()
        return values, description


class Begun:
    """A batch on its way back to the host."""

    def __init__(self, found: tuple[Tensor, Tensor]) -> None:
        self.values, self.descriptions = (
            torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
            for tensor in found
        )
        self.there = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.there.record()

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        self.there.synchronize()
        return list(zip(self.values.numpy(), self.descriptions.numpy(), strict=True))


def upload(batch: np.ndarray, device: str) -> Tensor:
    return torch.from_numpy(batch).pin_memory().to(device, non_blocking=True)


def autocast() -> torch.autocast:
    return torch.autocast("cuda", torch.float16)


def halved(module: nn.Module) -> nn.Module:
    """A module in half precision but for batch normalisation, whose statistics need more."""
    module.half()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.float()
    return module


def without_norms(network: nn.Module) -> nn.Module:
    """The network, batch normalisation put into the convolution before it wherever the two follow each other in a
    sequence."""
    for sequence in network.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        for number in range(len(sequence) - 1):
            first, second = sequence[number], sequence[number + 1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                sequence[number] = fuse_conv_bn_eval(first, second)
                sequence[number + 1] = nn.Identity()
    return network
