"""OpenVINO as the engine on the CPU, and the cache of networks converted for it.

The encoder runs in 32 bits, the decoder in 8 where the processor multiplies bytes, else in 16 where it computes
bfloat16: errors of the encoder grow on their way through forty layers, those of the decoder do not, and it has three
quarters of the work.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Lock

import numpy as np

from segmenter.config import Config, read_weights
from segmenter.files import checksum, keep_newest, user_cache
from segmenter.openvino_silent import PARTS, ov
from segmenter.threads import usable_cpus

log = logging.getLogger(__name__)

CHECKSUMS = "checksums"
FORM = 3  # of what is converted; one more when ``segmenter.inference`` says something else
MOST_CACHED = 16  # converted networks; the oldest go
MOST_KERNELS = 16  # kept by each part for windows of other shapes; by default 256 shapes take 5 MB each, for ever

MADV_DONTNEED = 4  # of Linux
LOADING = Lock()  # an engine may give back what it has mapped itself, and nothing that another one unmaps some day


class OpenVinoEngine:
    """See ``segmenter.engine.Engine``. ``folder`` holds a network that ``converted`` made."""

    name, device, batch = "openvino", "cpu", 1

    def __init__(self, folder: Path) -> None:
        core = ov.Core()
        settings = {
            "INFERENCE_NUM_THREADS": usable_cpus(),
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "CPU_RUNTIME_CACHE_CAPACITY": MOST_KERNELS,
        }
        halves = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = {"encoder": "f32", "decoder": "bf16" if halves else "f32"}
        with LOADING:
            before = mapped(folder)
            self._encoder, self._decoder = (
                core.compile_model(
                    folder / f"{part}.xml", "CPU", {**settings, "INFERENCE_PRECISION_HINT": precision[part]}
                ).create_infer_request()
                for part in PARTS
            )
            self._mapped = mapped(folder) - before
        self._seen = set[tuple[int, ...]]()
        self._describes = len(self._encoder.model_outputs) > 1
        self._lock = Lock()  # one set of buffers, and all processors work on one window
        self._known: tuple[tuple[int, ...], bytes] | None = None  # the window whose features describe() has left there

    def run(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for window in windows:
            with self._lock:
                if self._known is None or self._known != (window.shape, window.tobytes()):  # else it was just described
                    self._encode(window)
                self._known = None
                description = self._description()
                for number in range(len(self._decoder.model_inputs)):
                    feature = self._encoder.get_output_tensor(number + self._describes)
                    self._decoder.set_input_tensor(number, feature)
                self._decoder.infer()
                found.append((self._decoder.get_output_tensor(0).data[0].copy(), description))
                if window.shape not in self._seen:  # its kernels are made
                    self._seen.add(window.shape)
                    give_back(self._mapped)
        return found

    def describe(self, windows: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = []
        for window in windows:
            with self._lock:
                self._encode(window)
                self._known = (window.shape, window.tobytes())
                found.append(self._description())
        return found

    def _encode(self, window: np.ndarray) -> None:
        """Run the encoder on a window (h, w, 3)."""
        self._known = None
        self._encoder.set_input_tensor(ov.Tensor(np.ascontiguousarray(window)[None]))
        self._encoder.infer()

    def _description(self) -> np.ndarray:
        """That (F,) of the window that was encoded last; where there is none, F = 0."""
        if not self._describes:
            return np.zeros(0, np.float32)
        description: np.ndarray = self._encoder.get_output_tensor(0).data[0].copy()
        return description


def mapped(folder: Path) -> set[range]:
    """The addresses at which this process has mapped the weights in ``folder``; Linux alone tells them."""
    try:
        lines = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    except OSError:
        return set()
    weights = [str(folder.resolve() / f"{part}.bin") for part in PARTS]
    return {range(*(int(end, 16) for end in line[0].split("-"))) for line in lines if line[5:] and line[5] in weights}


def give_back(addresses: set[range]) -> None:
    """Give back the memory of mapped files: OpenVINO makes kernels of their weights in a form of its own, once for each
    shape of a window. What it reads again comes from the file."""
    for place in addresses:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(place.start), ctypes.c_size_t(len(place)), MADV_DONTNEED)


def cache_folder() -> Path:
    """Where converted networks are kept."""
    return user_cache() / "openvino"


def converted(weights: Path, config: Config) -> Path:
    """The folder of a network in OpenVINO's form, from the cache if it is whole there, else made.

    It is found by the checksum of the weights, of what the config has to do with them and by OpenVINO's version.
    WeightsError as in ``load_network``.
    """
    rounded = multiplies_bytes()
    shape = (config.network, config.network_classes, config.classes)
    numbers = (config.mean, config.std, config.temperature, config.offsets)
    rounding = asdict(config.rounding) if rounded and config.rounding else None
    known = json.dumps([*shape, *numbers, rounding, ov.__version__, FORM])
    key = hashlib.sha256(read_weights(weights, config) + known.encode()).hexdigest()[:24]
    folder = cache_folder() / key
    if is_whole(folder):
        with suppress(OSError):
            os.utime(folder)  # used now: the newest are kept
        return folder
    return convert(weights, folder, rounded)


def multiplies_bytes() -> bool:
    """Whether the processor has instructions for sums of products of bytes (VNNI): others are no faster with them, and
    some of them overflow. Linux tells; elsewhere it is taken for granted that there are none."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def is_whole(folder: Path) -> bool:
    """Whether a cached network is there and has the checksums it was written with."""
    try:
        return (folder / CHECKSUMS).read_text() == checksums(folder)
    except (OSError, ValueError):  # gone, or no text
        return False


def checksums(folder: Path) -> str:
    files = [folder / f"{part}{suffix}" for part in PARTS for suffix in (".xml", ".bin")]
    return "".join(checksum(file.name, file.read_bytes()) for file in files)


def convert(weights: Path, folder: Path, rounded: bool) -> Path:
    """Convert a network into ``folder`` of the cache; another folder, kept until the process ends, where that
    cannot be written."""
    log.info("converting %s for OpenVINO", weights)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent, prefix="making-"))
    except OSError:
        made = _for_this_process()
    try:
        _write_parts(weights, made, rounded)
        (made / CHECKSUMS).write_text(checksums(made))
    except BaseException:  # Ctrl-C too
        shutil.rmtree(made, ignore_errors=True)
        raise
    if made.parent != folder.parent:
        return made
    if not is_whole(folder):
        shutil.rmtree(folder, ignore_errors=True)  # a damaged one
    with suppress(OSError):  # another process was faster, and may be reading it
        made.rename(folder)
    shutil.rmtree(made, ignore_errors=True)
    with suppress(OSError):  # one that is made beside it got its name meanwhile
        keep_newest(folder.parent, MOST_CACHED)
    return folder


def _write_parts(weights: Path, folder: Path, rounded: bool) -> None:
    """Convert in a process of its own, unless PyTorch is here anyway: it would stay in memory for nothing."""
    if sys.executable and not pytorch_is_here():
        package = str(Path(__file__).resolve().parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([package, os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "segmenter.convert", str(weights), str(folder), *["rounded"] * rounded]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        log.warning("converting in a process of its own failed: %s", (done.stderr.strip() or "?").splitlines()[-1])
    from segmenter.convert import write_parts

    write_parts(weights, folder, rounded)


def pytorch_is_here() -> bool:
    return "torch" in sys.modules


def _for_this_process() -> Path:
    import atexit

    made = Path(tempfile.mkdtemp(prefix="segmenter-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
