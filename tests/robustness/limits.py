"""What each kind of picture costs: ``python -m tests.robustness.limits`` prints a line of JSON per kind.

``seconds`` of processor time and ``megabytes`` of memory beyond those of the loaded model. The process may not have a
gigabyte more than that model needs. Linux only.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

from segmenter import ImageError, Segmenter

from .corpus import KINDS, content

STATUS = Path("/proc/self/status")


def status(name: str) -> int:
    """One of the process's counts of memory, in bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    segmenter = Segmenter.load("pets")
    segmenter.predict(content(next(kind for kind in KINDS if kind.name == "white.png")))
    made = {kind.name: content(kind) for kind in KINDS}
    most = status("VmData") + 1_000_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    for kind in KINDS:
        before = status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        started = time.process_time()
        try:
            segmenter.predict(made[kind.name]).stats()
            outcome = "mask"
        except ImageError:
            outcome = "refused"
        found = {
            "kind": kind.name,
            "outcome": outcome,
            "seconds": round(time.process_time() - started, 3),
            "megabytes": round((status("VmHWM") - before) / 1e6, 1),
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
