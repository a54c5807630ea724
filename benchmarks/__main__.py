"""Run every benchmark, each in a process of its own; with all of them and real pictures docs/performance.md is new."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import machine, parser
from segmenter.files import write_whole

REPORT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
BENCHMARKS = {
    "network": "One network",
    "rivals": "Against torchvision's networks",
    "picture": "One large photograph",
    "looking": "Looking at a result",
    "cold_start": "Start",
    "many": "Many pictures",
    "cuda": "CUDA",
    "memory": "Memory",
}


def main() -> None:
    options = parser(__doc__).parse_args()
    text = "# Performance\n\nWritten by `python -m benchmarks --data DIR`. Times are noisy, ratios less so.\n"
    text += f"\n{machine()}.\n"
    for name, title in BENCHMARKS.items():
        passed = ["--quick"] * options.quick + (["--data", options.data] if options.data else [])
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", *passed], check=True, stdout=subprocess.PIPE, text=True
        )
        said = (importlib.import_module(f"benchmarks.{name}").__doc__ or "").strip()
        text += f"\n## {title}\n\n{said}\n\n{done.stdout.strip()}\n"
        print(f"{title}\n{done.stdout}", flush=True)
    if options.data and not options.quick:
        write_whole(REPORT, text.encode())


if __name__ == "__main__":
    main()
