"""One network, one picture: the engines against the same weights through smp in eager PyTorch.

Speed at 256x256 and 512x512, and the share of pixels in which the masks of test pictures agree.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.measure import parser, row, table, times
from benchmarks.pictures import generated, test_pictures
from segmenter import Segmenter
from segmenter.engine import load_engine
from segmenter.inference import normalise
from segmenter.networks import load_network
from segmenter.predict import WEIGHTS
from segmenter.tasks import TASKS
from segmenter.threads import usable_cpus

SIZES = (256, 512)
PICTURES = 10


def speed(quick: bool) -> str:
    folder = WEIGHTS / "cars"
    network, config = load_network(folder)
    engines = {name: load_engine(folder, "cpu", name)[0] for name in ("torch", "openvino")}
    rows = []
    for size in SIZES:
        window = generated(size, size)
        pixels = normalise(torch.from_numpy(window)[None], config.mean, config.std).contiguous()

        def eager(pixels: torch.Tensor = pixels) -> object:
            with torch.inference_mode():
                return network(pixels)

        programs = {"smp, eager PyTorch": eager}
        for name, engine in engines.items():
            programs[f"engine {name}"] = lambda engine=engine, window=window: engine.run([window])
        found = times(programs, rounds=5 if quick else 20)
        for name, milliseconds in found.items():
            cells = row(name, milliseconds, found["smp, eager PyTorch"])
            rows.append([f"{size}x{size}", *cells])
    return table(["input", "network", "ms", "middle half", "times faster"], rows)


def agreement(data: str | None, quick: bool) -> str:
    rows = []
    for task in TASKS:
        exact, fast = (Segmenter.load(task, device="cpu", engine=name) for name in ("torch", "openvino"))
        same = total = 0
        apart = []
        for picture in test_pictures(task, data, 3 if quick else PICTURES):
            one, other = exact.predict(picture), fast.predict(picture)
            same += int((one.class_ids == other.class_ids).sum())
            total += one.class_ids.size
            apart.append(float(np.abs(one.confidence - other.confidence).mean()))
        rows.append([task, f"{100 * same / total:.3f}%", f"{np.mean(apart):.5f}"])
    return table(["model", "pixels of one class", "mean difference of confidence"], rows)


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    torch.set_num_threads(usable_cpus())
    kind = "test pictures" if options.data else "generated pictures"
    return (
        f"{speed(options.quick)}\n\nMasks of {kind}, OpenVINO against PyTorch in 32 bits:\n\n"
        f"{agreement(options.data, options.quick)}"
    )


if __name__ == "__main__":
    print(main())
