"""Times side by side, and what they were taken on."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median, quantiles

from segmenter.threads import usable_cpus

LIBRARIES = ("torch", "torchvision", "segmentation-models-pytorch", "openvino", "gradio", "pillow", "numpy")


def times(programs: Mapping[str, Callable[[], object]], rounds: int = 20, warm: int = 3) -> dict[str, list[float]]:
    """Milliseconds of each program in each round. They take turns, so that a busy moment meets all of them; each runs
    once before it is timed, while the threads of the one before come to rest."""
    found: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(warm + rounds):
        for name, program in programs.items():
            program()
            before = time.perf_counter()
            program()
            if turn >= warm:
                found[name].append(1000 * (time.perf_counter() - before))
    return found


def row(name: str, milliseconds: Sequence[float], against: Sequence[float] | None = None) -> list[str]:
    """Cells: name, median, middle half, and how many times faster than ``against``: the median over the rounds."""
    low, _, high = quantiles(milliseconds, n=4)
    cells = [name, f"{median(milliseconds):.1f}", f"{low:.1f} to {high:.1f}"]
    if against is not None:
        cells.append(f"{median(slow / fast for slow, fast in zip(against, milliseconds, strict=True)):.2f}")
    return cells


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def machine() -> str:
    """The processor, the threads that may be used, and the versions."""
    name = platform.processor() or "unknown processor"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = ", ".join(f"{library} {importlib.metadata.version(library)}" for library in LIBRARIES)
    return f"{name}, {usable_cpus()} of {os.cpu_count()} processors; Python {platform.python_version()}, {versions}"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Options that every benchmark takes."""
    options = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    options.add_argument("--quick", action="store_true", help="fewer rounds, to see that it runs")
    options.add_argument("--data", help="folder of the datasets; without it pictures are generated")
    return options
