"""OpenVINO without its telemetry: it tells its makers of every import through a package of its own, unasked."""

from __future__ import annotations

import sys

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as if it were not installed
import openvino as ov  # noqa: E402

PARTS = ("encoder", "decoder")  # the two files of a converted network

__all__ = ["PARTS", "ov"]
