"""Memory: the app after 1,000 requests over four tasks, and a picture of 10,000 x 10,000 pixels; time over pixels.

The requests are for pictures of 41 sizes, each by every model: networks keep something for every shape they meet.

Resident mebibytes are those of the process, by the kernel's count.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import parser, table
from segmenter import Segmenter

REQUESTS = 1000
LARGE = """
import resource, sys
from benchmarks.memory import blocks
from segmenter import Segmenter
image = blocks(int(sys.argv[1]))
segmenter = Segmenter.load("water", device="cpu", max_pixels=10**8)
segmenter.predict(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - image.nbytes / 2**20)
"""
SERVING = """
import sys, time
from pathlib import Path
import app
from page import view
from page.given import given
from page.models import warm
from segmenter.tasks import TASKS

def resident():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

app.share_heap()
app.build()
warm()
count, *pictures = sys.argv[1:]
print(resident())
for number in range(int(count)):
    view.look(given({"path": pictures[number % len(pictures)]}), list(TASKS)[number % 4])
print(resident())
"""


def run(code: str, *arguments: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def blocks(side: int) -> np.ndarray:
    """A square image (side, side, 3) uint8 of even blocks, made without a copy of itself."""
    colours = np.random.default_rng(0).integers(0, 200, (side // 100 + 1, side // 100 + 1, 3), np.uint8)
    places = np.arange(side) // 100
    return colours[places[:, None], places]


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    requests = 40 if options.quick else REQUESTS
    from benchmarks.pictures import generated, jpeg

    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        common = [(375, 500), (256, 256), (480, 640), (720, 960), (1080, 1920)]
        others = np.random.default_rng(0).integers(100, 1000, (36, 2)).tolist()
        for number, size in enumerate([*common, *others]):
            pictures.append(str(Path(folder) / f"{number}.jpg"))
            Path(pictures[-1]).write_bytes(jpeg(generated(*size, number)))
        idle, busy = run(SERVING, str(requests), *pictures)
    rows = [["the app, four models loaded", f"{idle:.0f}"], [f"after {requests} pictures", f"{busy:.0f}"]]
    if not options.quick:
        before = time.perf_counter()
        (above,) = run(LARGE, "10000")
        took = time.perf_counter() - before
        rows.append([f"10,000 x 10,000 pixels of water ({took:.0f} s), peak above the picture", f"{above:.0f}"])
    sides = (1000, 2000) if options.quick else (1000, 2000, 4000, 8000)
    segmenter = Segmenter.load("water", device="cpu", max_pixels=max(sides) ** 2)
    segmenter.predict(blocks(512))
    found: dict[int, list[float]] = {side: [] for side in sides}
    for _ in range(1 if options.quick else 3):
        for side in sides:
            image = blocks(side)
            before = time.perf_counter()
            segmenter.predict(image)
            found[side].append(time.perf_counter() - before)
    megapixels = np.array([side * side / 1e6 for side in sides])
    measured = np.array([median(found[side]) for side in sides])
    slope = float(np.exp(np.mean(np.log(measured / megapixels))))
    fit = [
        [f"{size:g}", f"{took:.2f}", f"{took / size:.3f}", f"{100 * (took / (slope * size) - 1):+.0f}%"]
        for size, took in zip(megapixels, measured, strict=True)
    ]
    return (
        table(["process", "resident MiB"], rows)
        + "\n\nTime over pixels, water:\n\n"
        + table(["megapixels", "s", "s for each megapixel", "from a line through zero"], fit)
    )


if __name__ == "__main__":
    print(main())
