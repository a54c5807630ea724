"""The models, each loaded once, at its first use."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from functools import cache
from threading import Lock

from segmenter import TASKS, Segmenter, WeightsError
from segmenter.suggest import Suggestion, suggest

_LOADING = {task: Lock() for task in TASKS}  # one each: nobody waits for a model that another visitor asked for


def segmenter_for(task: str) -> Segmenter:
    """The model of a task, shared by all visitors; raises as ``Segmenter.load`` does."""
    with _LOADING.get(task, nullcontext()):
        return _load(task)


@cache
def _load(task: str) -> Segmenter:
    return Segmenter.load(task)


def suggest_for(path: str) -> Suggestion:
    """The model that fits a picture file, among those whose weights are there. ImageError for a bad picture."""
    return suggest(path, warm())


def warm() -> dict[str, Segmenter]:
    """Load every model, so that the first visitor need not wait; missing weights are told to those who ask.

    Returns the models that are there, by task.
    """
    segmenters = {}
    for task in TASKS:
        with suppress(WeightsError):
            segmenters[task] = segmenter_for(task)
    return segmenters
