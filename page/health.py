"""Whether each model answers, for those who watch the server: ``/health``."""

from __future__ import annotations

import time
from threading import Lock

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse

from page.log import LOG
from page.models import segmenter_for
from segmenter import TASKS

FRESH_SECONDS = 60  # an answer serves this long: asking often costs nothing
TINY = np.zeros((16, 16, 3), np.uint8)

_checking = Lock()
_known: tuple[float, dict[str, bool]] | None = None


def answers(task: str) -> bool:
    """Whether a task's model predicts a tiny picture; why not stands in the log."""
    try:
        return segmenter_for(task).predict(TINY).class_ids.shape == TINY.shape[:2]
    except Exception as error:  # whatever is wrong, the answer is no
        LOG.error("health", exc_info=error, extra={"facts": {"task": task}})
        return False


def check() -> dict[str, bool] | None:
    """Task -> whether it answers, at most FRESH_SECONDS old. Those who ask while the models are being asked get the
    last answer, None where there is none yet."""
    global _known
    if (_known is None or time.monotonic() - _known[0] > FRESH_SECONDS) and _checking.acquire(blocking=False):
        try:
            found = {task: answers(task) for task in TASKS}
            _known = time.monotonic(), found
        finally:
            _checking.release()
    return None if _known is None else _known[1]


def health(request: Request) -> JSONResponse:
    """200 where every model answers, else 503; the status is ok, degraded or starting."""
    found = check()
    if found is None:
        return JSONResponse({"status": "starting", "tasks": {}}, 503)
    fine = all(found.values())
    return JSONResponse({"status": "ok" if fine else "degraded", "tasks": found}, 200 if fine else 503)
