"""One 1920x1080 JPEG, from its bytes to a class for every pixel: where the time goes, for each model.

The bar: all of ``Segmenter.predict`` takes at most 1.5 times the network's own time, plus decoding. A photograph is one
window of 10 to 20 ms, beside which scaling two megapixels down to it weighs more than in tiles. Its confidence is made
when it is first read, which is the last column; of tiles it comes with the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import parser, table, times
from benchmarks.pictures import generated, jpeg
from segmenter import Segmenter
from segmenter.engine import Engine
from segmenter.image import read_image
from segmenter.tasks import TASKS


class Recorder:
    """An engine that remembers the windows it is given."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.windows = engine, list[np.ndarray]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def run(self, windows: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        self.windows.extend(windows)
        return self.engine.run(windows)


def main(arguments: list[str] | None = None) -> str:
    options = parser(__doc__).parse_args(arguments)
    data = jpeg(generated(1080, 1920))
    rows = []
    for task in TASKS:
        segmenter = Segmenter.load(task, device="cpu")
        engine = segmenter._engine
        recorder = Recorder(engine)
        Segmenter(segmenter.task, recorder, segmenter.config).predict(data)
        windows = recorder.windows
        found = times(
            {
                "decode": lambda: read_image(data),
                "network": lambda engine=engine, windows=windows: [engine.run([window]) for window in windows],
                "all": lambda segmenter=segmenter: segmenter.predict(data),
                "more": lambda segmenter=segmenter: segmenter.predict(data).confidence,
            },
            rounds=2 if options.quick else (20 if len(windows) == 1 else 7),
            warm=1,
        )
        decode, network, whole = (median(found[name]) for name in ("decode", "network", "all"))
        share = median((np.array(found["all"]) - found["decode"]) / found["network"])
        cells = [f"{decode:.1f}", f"{network:.1f}", f"{whole:.1f}", f"{share:.2f}"]
        later = max(0, median(np.array(found["more"]) - found["all"]))
        rows.append([task, str(len(windows)), *cells, f"{later:.1f}" if len(windows) == 1 else "-"])
    head = ["decoding ms", "network ms", "predict ms", "(predict - decoding) / network", "confidence ms"]
    return table(["model", "windows", *head], rows)


if __name__ == "__main__":
    print(main())
