"""How many processors this process may really use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@cache
def usable_cpus(cgroup: Path = CGROUP) -> int:
    """At least 1: the processors that the process may run on, and no more than its container's share of time.

    A container sees all processors of its host; with more threads than its share it only waits for itself.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_share(cgroup))))


def cgroup_share(cgroup: Path) -> float:
    """Processors' worth of time that the control group grants, infinity where it sets no limit.

    Read as the kernel's documentation has it: ``cpu.max`` of version 2, ``cpu.cfs_quota_us`` over
    ``cpu.cfs_period_us`` of version 1.
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf
